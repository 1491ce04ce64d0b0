/* The guest in C: the same work as guest.go, with a small reader of JSON of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

static int sieve(void) {
  const int n = 2000000;
  char *composite = calloc(n, 1);
  int count = 0;
  for (int i = 2; i < n; i++) {
    if (composite[i]) continue;
    count++;
    for (int j = 2 * i; j < n; j += i) composite[j] = 1;
  }
  return count;
}

static int matmul(void) {
  const int n = 200;
  double *a = malloc(n * n * 8), *b = malloc(n * n * 8), *c = malloc(n * n * 8);
  for (int i = 0; i < n * n; i++) a[i] = i % 7, b[i] = i % 5;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      double sum = 0;
      for (int k = 0; k < n; k++) sum += a[i * n + k] * b[k * n + j];
      c[i * n + j] = sum;
    }
  return (int)(c[n * n - 1] + c[17]);
}

static const char *value(const char *p, long *sum) {
  switch (*p) {
  case '[':
  case '{':
    for (p++; *p != ']' && *p != '}'; p++) {
      p = value(p, sum);
      if (*p == ':') p = value(p + 1, sum);
      if (*p != ',') break;
    }
    return p + 1;
  case '"': {
    const char *s = ++p;
    while (*p != '"') p++;
    *sum += p - s;
    return p + 1;
  }
  default: {
    char *end;
    *sum += strtol(p, &end, 10);
    return end;
  }
  }
}

static int json(void) {
  char *text = malloc(2000 * 80), *p = text;
  *p++ = '[';
  for (int i = 0; i < 2000; i++)
    p += sprintf(p, "%s{\"id\":%d,\"name\":\"record %d\",\"tags\":[%d,%d,%d]}", i ? "," : "", i, i, i, i * 2, i * 3);
  strcpy(p, "]");
  long sum = 0;
  value(text, &sum);
  return (int)sum;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  int result = 0;
  if (!strcmp(what, "fib")) result = fib(27);
  if (!strcmp(what, "sieve")) result = sieve();
  if (!strcmp(what, "matmul")) result = matmul();
  if (!strcmp(what, "json")) result = json();
  printf("%d\n", result);
  return 0;
}
