// Opens the file whose name is the content of the message, and answers with its first byte, or
// minus the error number. A name that begins with + is made.
#define IMPORT(m, n) __attribute__((import_module(m), import_name(n)))
#define EXPORT(n) __attribute__((export_name(n)))
typedef unsigned int u32;
typedef unsigned long long u64;
IMPORT("wasi_snapshot_preview1", "path_open") int path_open(int dir, int look, const char *p, u32 n, int o, u64 rights, u64 inheriting, int flags, int *fd);
IMPORT("wasi_snapshot_preview1", "fd_read") int fd_read(int fd, void *iov, int n, u32 *got);
IMPORT("wasi_snapshot_preview1", "fd_close") int fd_close(int fd);
IMPORT("caxton", "respond") int respond(const char *p, u32 n);
static char message[8192];
EXPORT("alloc") char *alloc(u32 n) { return n <= sizeof message ? message : 0; }
static int answer(int v) {
	char text[12]; int at = sizeof text, minus = v < 0;
	if (minus) v = -v;
	do text[--at] = '0' + v % 10; while (v /= 10);
	if (minus) text[--at] = '-';
	return respond(text + at, sizeof text - at);
}
static int starts(const char *p, const char *key) { while (*key) if (*p++ != *key++) return 0; return 1; }
EXPORT("handle_message") int handle(const char *p, u32 n) {
	const char *end = p + n; int fd = 0, make = 0; u32 got = 0; char byte = 0;
	while (p < end && !starts(p, "\"content\":\"")) p++;
	p += 11;
	if (*p == '+') { make = 1; p++; }
	const char *q = p;
	while (q < end && *q != '"') q++;
	int err = path_open(3, 1, p, q - p, make, make ? 64 : 2, 0, 0, &fd);
	if (err) return answer(-err);
	if (!make) {
		struct { void *at; u32 n; } iov = {&byte, 1};
		err = fd_read(fd, &iov, 1, &got);
	}
	fd_close(fd);
	return answer(err ? -err : byte);
}
