/* What a C module may import from Caxton. docs/wasm.md describes each function. Strings are
 * pointer and length, in UTF-8; a result below zero is an error, and last_error tells why. */
#ifndef CAXTON_H
#define CAXTON_H

typedef unsigned int caxton_size;

#define CAXTON_IMPORT(name) __attribute__((import_module("caxton"), import_name(#name)))
#define CAXTON_EXPORT(name) __attribute__((export_name(#name)))

CAXTON_IMPORT(respond) int caxton_respond(const char *json, caxton_size n);
CAXTON_IMPORT(fail) int caxton_fail(const char *text, caxton_size n);
CAXTON_IMPORT(send_message) int caxton_send(const char *json, caxton_size n);
CAXTON_IMPORT(request) int caxton_request(const char *json, caxton_size n);
CAXTON_IMPORT(call_tool) int caxton_call_tool(const char *name, caxton_size name_n, const char *args, caxton_size args_n);
CAXTON_IMPORT(read_result) int caxton_read_result(char *buffer, caxton_size size);
CAXTON_IMPORT(last_error) int caxton_last_error(char *buffer, caxton_size size);
CAXTON_IMPORT(store_data) int caxton_store(const char *key, caxton_size key_n, const char *value, caxton_size n);
CAXTON_IMPORT(load_data) int caxton_load(const char *key, caxton_size key_n, char *buffer, caxton_size size);
CAXTON_IMPORT(delete_data) int caxton_delete(const char *key, caxton_size key_n);
CAXTON_IMPORT(next_key) int caxton_next_key(const char *key, caxton_size key_n, char *buffer, caxton_size size);
CAXTON_IMPORT(get_config) int caxton_config(const char *key, caxton_size key_n, char *buffer, caxton_size size);
CAXTON_IMPORT(log) void caxton_log(int level, const char *text, caxton_size n);

#endif
