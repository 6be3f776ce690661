#include "console.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool debug;

int64_t uptime_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void say_list(const char *format, va_list arguments)
{
	char line[1024];
	int64_t now = uptime_ms();
	int head = snprintf(line, sizeof(line), "[%4lld.%02lld] ", (long long)(now / 1000), (long long)(now % 1000 / 10));
	int body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, arguments);
	size_t size = (size_t)head + (body < 0 ? 0 : (size_t)body);

	if (size > sizeof(line) - 2)
		size = sizeof(line) - 2;
	line[size++] = '\n';
	if (write(STDERR_FILENO, line, size) < 0)
		return; /* nobody to tell */
}

void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say_list(format, arguments);
	va_end(arguments);
}

void say_debug(const char *format, ...)
{
	va_list arguments;

	if (!debug)
		return;
	va_start(arguments, format);
	say_list(format, arguments);
	va_end(arguments);
}

void console_debug(bool on)
{
	debug = on;
}

void console_clean(char *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];

		if ((c < 0x20 && c != '\t' && c != '\n') || c == 0x7f)
			text[i] = '?';
		else if (c == 0xc2 && i + 1 < size && (unsigned char)text[i + 1] < 0xa0)
			text[i] = text[i + 1] = '?'; /* U+0080 to U+009F */
	}
}

bool cmdline_has(const char *line, const char *word)
{
	size_t size = strlen(word);

	for (const char *at = line; (at = strstr(at, word)) != NULL; at += size) {
		bool starts = at == line || at[-1] == ' ';
		bool ends = at[size] == '\0' || at[size] == ' ' || at[size] == '\n';

		if (starts && ends)
			return true;
	}
	return false;
}
