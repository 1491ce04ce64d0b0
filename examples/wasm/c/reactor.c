/* A reactor without any library: counts its messages, over restarts too, and answers with the
 * number. Its state is in the server; the grant "state" is what it needs. */
#include "caxton.h"

static char memory[128 * 1024];

/* One message at a time is all there is, so that each may have the whole room. */
CAXTON_EXPORT(caxton_alloc) char *allocate(caxton_size n) { return n <= sizeof memory ? memory : 0; }

CAXTON_EXPORT(handle_message) int handle(const char *message, caxton_size n) {
	static const char key[] = "count";
	char text[12];
	int got = caxton_load(key, sizeof key - 1, text, sizeof text);
	unsigned count = 0;
	for (int i = 0; i < got; i++) count = count * 10 + (text[i] - '0');
	count++;
	int at = sizeof text;
	do text[--at] = '0' + count % 10; while (count /= 10);
	int err = caxton_store(key, sizeof key - 1, text + at, sizeof text - at);
	if (err < 0) return 1;
	return caxton_respond(text + at, sizeof text - at);
}
