// Keeps what follows "set " in a message; else tells what is kept, the time and a random number.
#define IMPORT(n) __attribute__((import_module("caxton"), import_name(n)))
#define EXPORT(n) __attribute__((export_name(n)))
typedef unsigned int u32;
typedef unsigned long long u64;
IMPORT("respond") int respond(const char *p, u32 n);
IMPORT("load_data") int load(const char *key, u32 n, char *p, u32 size);
IMPORT("store_data") int store(const char *key, u32 n, const char *p, u32 size);
IMPORT("current_timestamp") u64 now(void);
IMPORT("random_u32") u32 draw(void);
static char message[8192], text[256];
EXPORT("alloc") char *alloc(u32 n) { return n <= sizeof message ? message : 0; }
static int starts(const char *p, const char *with) { while (*with) if (*p++ != *with++) return 0; return 1; }
static int put(int at, u64 v) {
	u64 by = 1;
	while (v / by >= 10) by *= 10;
	for (; by; by /= 10) text[at++] = '0' + v / by % 10;
	return at;
}
EXPORT("handle_message") int handle(const char *p, u32 n) {
	const char *end = p + n;
	while (p < end && !starts(p, "\"content\":\"")) p++;
	p += 11;
	if (starts(p, "set ")) {
		const char *q = p += 4;
		while (q < end && *q != '"') q++;
		if (store("kept", 4, p, q - p) < 0) return 1;
		return respond("\"kept\"", 6);
	}
	int at = 1, got = load("kept", 4, text + 1, 64);
	text[0] = '"';
	if (got > 0) at += got;
	text[at++] = ' ';
	at = put(at, now());
	text[at++] = ' ';
	at = put(at, draw());
	text[at++] = '"';
	return respond(text, at);
}
