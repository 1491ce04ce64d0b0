// Counts on from tally1, under the keys c:WORD with the counts negative, and answers with
// them. The parameter "migrate" has it behave badly while it brings the state over.
#include "tally.h"
IMPORT("next_key") int next(const char *key, u32 n, char *p, u32 size);
IMPORT("get_config") int config(const char *key, u32 n, char *p, u32 size);
IMPORT("log") void note(int level, const char *p, u32 n);
IMPORT("send_message") int tell(const char *p, u32 n);
EXPORT("handle_message") int handle(const char *p, u32 n) {
	char text[12];
	if (next("", 0, text, sizeof text) != -6) return 9; // keys are for migrations
	u32 k = keyOf('c', p, n);
	int got = load(key, k, text, sizeof text);
	char *out = print(-(got < 1 ? 0 : number(text + 1, got - 1)) - 1);
	if (store(key, k, out, printed(out)) < 0) return 1;
	return respond(out, printed(out));
}
static char big[60000];
EXPORT("migrate_state") int migrate(int from, int to) {
	char how[16] = {0}, text[12];
	int n = config("migrate", 7, how, sizeof how - 1), k = 0;
	if (n > 0 && how[0] == 'l') for (volatile int i = 0;; i++) ;
	if (n > 0 && how[0] == 's') return 0;
	while ((n = next(key, k, key, sizeof key)) > 0) {
		k = n;
		if (key[0] != 'n') continue;
		int got = load(key, k, text, sizeof text);
		char *out = print(-number(text, got));
		key[0] = 'c';
		if (store(key, k, out, printed(out)) < 0) return 1;
		key[0] = 'n';
		if (forget(key, k) < 0) return 2;
		if (how[0] == 't') __builtin_trap();
		if (how[0] == 'r') { note(2, "I do not know that", 18); return from * 10 + to; }
		if (how[0] == 'm') return tell("{\"content\":1,\"receiver\":\"bob\"}", 30) == -6 ? 0 : 3;
		for (int i = 0; how[0] == 'b'; i++) { key[0] = 'x'; key[2] = 'a' + i % 26; key[3] = 'a' + i / 26 % 26; key[4] = 'a' + i / 676; store(key, 5, big, sizeof big); }
	}
	return n == -3 ? 0 : 4;
}
