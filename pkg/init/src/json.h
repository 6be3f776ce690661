/* JSON (RFC 8259) for small files, with bounds: nesting, number of values, no NUL inside strings. */
#ifndef MOBY_JSON_H
#define MOBY_JSON_H

#include <stdbool.h>
#include <stddef.h>

enum { JSON_DEPTH = 32, JSON_VALUES = 65536 };

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
	enum json_type type;
	const char *key;       /* of a member of an object */
	const char *string;    /* unescaped, for JSON_STRING */
	long long number;      /* the integer part, saturated, for JSON_NUMBER; 0 or 1 for JSON_BOOL */
	struct json *child;    /* the first element or member */
	struct json *next;     /* the next one beside this */
};

struct json_document {
	struct json *values;
	size_t used, room;
	char *text;            /* strings point into it */
	const char *error;     /* why json_parse refused */
	size_t offset;         /* where, in bytes */
};

/* Parse `size` bytes at `text`, which is copied. NULL when refused; json_free is due in both cases. */
const struct json *json_parse(struct json_document *document, const char *text, size_t size);
void json_free(struct json_document *document);

/* Lookups take NULL and values of another type: they then find nothing. The first member of a name counts. */
const struct json *json_get(const struct json *object, const char *key);
const struct json *json_items(const struct json *list);
const char *json_string(const struct json *object, const char *key);
long long json_number(const struct json *object, const char *key, long long absent);
bool json_true(const struct json *object, const char *key);

/* Write `text` as a JSON string with its quotes into `out`; false when `room` is too small. */
bool json_quote(char *out, size_t room, const char *text);

#endif
