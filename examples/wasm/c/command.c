/* A WASI command: reads the message on standard input and answers on standard output. The
 * answer of this one is how many bytes the message has. */
#include <stdio.h>

int main(void) {
	char buffer[4096];
	size_t n, total = 0;
	while ((n = fread(buffer, 1, sizeof buffer, stdin)) > 0) total += n;
	printf("{\"performative\": \"inform\", \"content\": \"your message has %zu bytes\"}\n", total);
	return 0;
}
