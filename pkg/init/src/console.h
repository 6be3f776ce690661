/* Messages for whoever watches the console. */
#ifndef MOBY_CONSOLE_H
#define MOBY_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Milliseconds since the kernel started; goes on during suspend. */
int64_t uptime_ms(void);

/* One line `[ 12.34] text` on standard error, in one write, so that lines of two processes do not mix. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, only after console_debug(true). */
void say_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void console_debug(bool on);

/* Replaces what a terminal would obey (escape sequences and the like) by `?`, in place. */
void console_clean(char *text, size_t size);

/* Is `word` one of the words of the kernel command line `line`? */
bool cmdline_has(const char *line, const char *word);

#endif
