/* The next version of reactor.c: it counts what was asked and what was only told, under keys of
 * their own, and brings over what reactor.c has counted. */
#include "caxton.h"

static char memory[128 * 1024];

CAXTON_EXPORT(caxton_alloc) char *allocate(caxton_size n) { return n <= sizeof memory ? memory : 0; }

static const char old[] = "count", form[] = "form", asked[] = "count/asked", told[] = "count/told";

/* The form of the state: 1 is that of reactor.c, which has no such key. */
static int known(void) {
	char text[2];
	int n = caxton_load(form, sizeof form - 1, text, sizeof text);
	return n == -3 ? 1 : n == 1 ? text[0] - '0' : 0;
}

CAXTON_EXPORT(migrate_state) int migrate(int from, int to) {
	char text[12];
	int n;
	(void)from, (void)to; /* numbers of deployments say nothing of a form */
	switch (known()) {
	case 1:
		n = caxton_load(old, sizeof old - 1, text, sizeof text);
		if (n > 0 && caxton_store(asked, sizeof asked - 1, text, n) < 0) return 1;
		caxton_delete(old, sizeof old - 1);
		return caxton_store(form, sizeof form - 1, "2", 1) < 0;
	case 2:
		return 0; /* nothing to change: both versions go on with the same state */
	}
	return 2; /* of a version that is newer than this one */
}

static int contains(const char *p, caxton_size n, const char *what, caxton_size m) {
	for (caxton_size at = 0, i; at + m <= n; at++) {
		for (i = 0; i < m && p[at + i] == what[i]; i++) {}
		if (i == m) return 1;
	}
	return 0;
}

CAXTON_EXPORT(handle_message) int handle(const char *message, caxton_size n) {
	static const char request[] = "\"performative\":\"request\"";
	int is = contains(message, n, request, sizeof request - 1);
	const char *key = is ? asked : told;
	caxton_size len = (is ? sizeof asked : sizeof told) - 1;
	char text[12];
	int got = caxton_load(key, len, text, sizeof text);
	unsigned count = 0;
	for (int i = 0; i < got; i++) count = count * 10 + (text[i] - '0');
	count++;
	int at = sizeof text;
	do text[--at] = '0' + count % 10; while (count /= 10);
	if (known() == 1) caxton_store(form, sizeof form - 1, "2", 1);
	if (caxton_store(key, len, text + at, sizeof text - at) < 0) return 1;
	return caxton_respond(text + at, sizeof text - at);
}
