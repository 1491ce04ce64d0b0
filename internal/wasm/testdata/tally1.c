// Counts messages by their first word under the keys n:WORD, and answers with the count.
#include "tally.h"
EXPORT("handle_message") int handle(const char *p, u32 n) {
	char text[12];
	u32 k = keyOf('n', p, n);
	int got = load(key, k, text, sizeof text);
	char *out = print(number(text, got < 0 ? 0 : got) + 1);
	if (store(key, k, out, printed(out)) < 0) return 1;
	return respond(out, printed(out));
}
