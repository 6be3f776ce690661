#include "json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rules kept: the text is copied once and strings are unescaped in that copy, which only makes them shorter; all
 * values stand in one block whose size is counted beforehand, so that pointers into it stay good. */
struct parser {
	struct json_document *document;
	char *at, *end;
	int depth;
};

static struct json *parse_value(struct parser *p);

static void *refuse(struct parser *p, const char *why)
{
	if (p->document->error == NULL) {
		p->document->error = why;
		p->document->offset = (size_t)(p->at - p->document->text);
	}
	return NULL;
}

static void skip_space(struct parser *p)
{
	while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r'))
		p->at++;
}

static bool take(struct parser *p, char c)
{
	skip_space(p);
	if (p->at >= p->end || *p->at != c)
		return false;
	p->at++;
	return true;
}

static long parse_hex4(struct parser *p)
{
	long value = 0;

	if (p->end - p->at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = *p->at++;
		int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;

		if (digit < 0)
			return -1;
		value = value * 16 + digit;
	}
	return value;
}

static char *put_utf8(char *out, long code)
{
	if (code < 0x80) {
		*out++ = (char)code;
	} else if (code < 0x800) {
		*out++ = (char)(0xc0 | code >> 6);
		*out++ = (char)(0x80 | (code & 63));
	} else if (code < 0x10000) {
		*out++ = (char)(0xe0 | code >> 12);
		*out++ = (char)(0x80 | (code >> 6 & 63));
		*out++ = (char)(0x80 | (code & 63));
	} else {
		*out++ = (char)(0xf0 | code >> 18);
		*out++ = (char)(0x80 | (code >> 12 & 63));
		*out++ = (char)(0x80 | (code >> 6 & 63));
		*out++ = (char)(0x80 | (code & 63));
	}
	return out;
}

/* Behind `\u`: one code point, which may take two escapes. NULL when it is none, or NUL. */
static char *parse_code_point(struct parser *p, char *out)
{
	long code = parse_hex4(p);

	if (code >= 0xd800 && code < 0xdc00 && p->end - p->at >= 6 && p->at[0] == '\\' && p->at[1] == 'u') {
		p->at += 2;
		long low = parse_hex4(p);
		code = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00) : -1;
	}
	if (code <= 0 || (code >= 0xd800 && code < 0xe000))
		return NULL;
	return put_utf8(out, code);
}

static char *parse_escape(struct parser *p, char *out)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";

	if (p->at >= p->end)
		return NULL;
	char name = *p->at++;
	if (name == 'u')
		return parse_code_point(p, out);
	const char *found = name == '\0' ? NULL : strchr(names, name);
	if (found == NULL)
		return NULL;
	*out++ = values[found - names];
	return out;
}

/* Behind the opening quote. */
static char *parse_text(struct parser *p)
{
	char *start = p->at, *out = p->at;

	while (p->at < p->end && *p->at != '"') {
		if ((unsigned char)*p->at < 0x20)
			return refuse(p, "control character in a string");
		if (*p->at != '\\') {
			*out++ = *p->at++;
			continue;
		}
		p->at++;
		out = parse_escape(p, out);
		if (out == NULL)
			return refuse(p, "bad escape in a string");
	}
	if (p->at >= p->end)
		return refuse(p, "string without an end");
	p->at++;
	*out = '\0'; /* at the latest where the closing quote was */
	return start;
}

static size_t skip_digits(struct parser *p)
{
	size_t count = 0;

	for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++)
		count++;
	return count;
}

static bool parse_number(struct parser *p, struct json *value)
{
	char *start = p->at;

	if (p->at < p->end && *p->at == '-')
		p->at++;
	char *digits = p->at;
	size_t count = skip_digits(p);
	if (count == 0 || (count > 1 && *digits == '0'))
		return false;
	value->number = strtoll(start, NULL, 10); /* saturates; the text ends in a NUL */
	if (p->at < p->end && *p->at == '.') {
		p->at++;
		if (skip_digits(p) == 0)
			return false;
	}
	if (p->at < p->end && (*p->at | 32) == 'e') {
		p->at++;
		if (p->at < p->end && (*p->at == '+' || *p->at == '-'))
			p->at++;
		if (skip_digits(p) == 0)
			return false;
	}
	value->type = JSON_NUMBER;
	return true;
}

static bool parse_word(struct parser *p, const char *word)
{
	size_t size = strlen(word);

	if ((size_t)(p->end - p->at) < size || memcmp(p->at, word, size) != 0)
		return false;
	p->at += size;
	return true;
}

static bool parse_member(struct parser *p, struct json **value)
{
	const char *key;

	if (!take(p, '"'))
		return refuse(p, "expected a member name") != NULL;
	key = parse_text(p);
	if (key == NULL)
		return false;
	if (!take(p, ':'))
		return refuse(p, "expected `:`") != NULL;
	*value = parse_value(p);
	if (*value == NULL)
		return false;
	(*value)->key = key;
	return true;
}

/* Behind `[` or `{`. */
static bool parse_inside(struct parser *p, struct json *value, char close)
{
	struct json **link = &value->child;

	if (take(p, close))
		return true;
	do {
		struct json *item = NULL;

		if (value->type == JSON_OBJECT ? !parse_member(p, &item) : (item = parse_value(p)) == NULL)
			return false;
		*link = item;
		link = &item->next;
	} while (take(p, ','));
	return take(p, close) || refuse(p, "expected `,` or the end of the list") != NULL;
}

static bool parse_nested(struct parser *p, struct json *value, enum json_type type)
{
	value->type = type;
	if (++p->depth > JSON_DEPTH)
		return refuse(p, "nested too deeply") != NULL;
	if (!parse_inside(p, value, type == JSON_OBJECT ? '}' : ']'))
		return false;
	p->depth--;
	return true;
}

static struct json *parse_value(struct parser *p)
{
	struct json *value;

	skip_space(p);
	if (p->document->used >= p->document->room)
		return refuse(p, "too many values");
	value = &p->document->values[p->document->used++];
	if (take(p, '{'))
		return parse_nested(p, value, JSON_OBJECT) ? value : NULL;
	if (take(p, '['))
		return parse_nested(p, value, JSON_ARRAY) ? value : NULL;
	if (take(p, '"')) {
		value->type = JSON_STRING;
		value->string = parse_text(p);
		return value->string != NULL ? value : NULL;
	}
	value->type = JSON_BOOL;
	value->number = 1;
	if (parse_word(p, "true"))
		return value;
	value->number = 0;
	if (parse_word(p, "false"))
		return value;
	value->type = JSON_NULL;
	if (parse_word(p, "null") || parse_number(p, value))
		return value;
	return refuse(p, "expected a value");
}

/* Every value but the first stands behind one of these characters. */
static size_t count_values(const char *text, size_t size)
{
	size_t count = 1;

	for (size_t i = 0; i < size; i++)
		count += text[i] == ',' || text[i] == '[' || text[i] == '{';
	return count < JSON_VALUES ? count : JSON_VALUES;
}

const struct json *json_parse(struct json_document *document, const char *text, size_t size)
{
	*document = (struct json_document){.room = count_values(text, size)};
	document->values = calloc(document->room, sizeof(struct json));
	document->text = malloc(size + 1);
	if (document->values == NULL || document->text == NULL) {
		document->error = "out of memory";
		return NULL;
	}
	memcpy(document->text, text, size);
	document->text[size] = '\0';
	struct parser p = {.document = document, .at = document->text, .end = document->text + size};
	struct json *root = parse_value(&p);
	if (root == NULL)
		return NULL;
	skip_space(&p);
	return p.at == p.end ? root : refuse(&p, "text behind the value");
}

void json_free(struct json_document *document)
{
	free(document->values);
	free(document->text);
	*document = (struct json_document){0};
}

const struct json *json_get(const struct json *object, const char *key)
{
	if (object == NULL || object->type != JSON_OBJECT)
		return NULL;
	for (const struct json *member = object->child; member != NULL; member = member->next)
		if (strcmp(member->key, key) == 0)
			return member;
	return NULL;
}

const struct json *json_items(const struct json *list)
{
	return list != NULL && list->type == JSON_ARRAY ? list->child : NULL;
}

const char *json_string(const struct json *object, const char *key)
{
	const struct json *member = json_get(object, key);

	return member != NULL && member->type == JSON_STRING ? member->string : "";
}

long long json_number(const struct json *object, const char *key, long long absent)
{
	const struct json *member = json_get(object, key);

	return member != NULL && member->type == JSON_NUMBER ? member->number : absent;
}

bool json_true(const struct json *object, const char *key)
{
	const struct json *member = json_get(object, key);

	return member != NULL && member->type == JSON_BOOL && member->number == 1;
}

bool json_quote(char *out, size_t room, const char *text)
{
	size_t used = 0;

	if (room < 3)
		return false;
	out[used++] = '"';
	for (; *text != '\0'; text++) {
		if (room - used < 8)
			return false;
		if (*text == '"' || *text == '\\')
			out[used++] = '\\';
		if ((unsigned char)*text < 0x20)
			used += (size_t)snprintf(out + used, 7, "\\u%04x", (unsigned)*text);
		else
			out[used++] = *text;
	}
	out[used++] = '"';
	out[used] = '\0';
	return true;
}
