#include "logs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "console.h"
#include "file.h"
#include "paths.h"

enum { SHOWN_BYTES = 16384 };

bool logs_path(const struct container *container, enum stream stream, char path[PATH_MAX])
{
	const char *end = stream == LOG_OUT ? ".out" : "";

	if (container->section == SERVICES)
		return path_format(path, SERVICE_LOGS "/%s%s.log", container->name, end);
	return path_format(path, BOOT_LOGS "/%s.%s%s.log", container->section == ONBOOT ? "onboot" : "shutdown",
		container->name, end);
}

int logs_open(const char *path)
{
	return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
}

/* Copy from `offset` on, until no more comes. */
static void copy(int from, int to, off_t offset)
{
	char data[16384];
	ssize_t size;

	while ((size = pread(from, data, sizeof(data), offset)) > 0) {
		if (write(to, data, (size_t)size) != size)
			return;
		offset += size;
	}
}

void logs_rotate(const char *path, off_t limit)
{
	char old[PATH_MAX];
	struct stat found;

	if (stat(path, &found) < 0 || found.st_size <= limit || !path_format(old, "%s.1", path))
		return;
	int from = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int to = open(old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (from >= 0 && to >= 0)
		copy(from, to, found.st_size - limit);
	if (from < 0 || ftruncate(from, 0) < 0)
		say("cannot shorten %s: %s", path, strerror(errno));
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
}

/* The start of the last `lines` lines of text[0..size). */
static const char *last_lines(const char *text, size_t size, int lines)
{
	const char *at = text + size;

	if (at > text && at[-1] == '\n')
		at--;
	for (; at > text; at--)
		if (at[-1] == '\n' && --lines == 0)
			break;
	return at;
}

off_t logs_length(const char *path)
{
	struct stat found;

	return stat(path, &found) == 0 ? found.st_size : 0;
}

void logs_show(const char *path, off_t start, const char *name, int lines)
{
	char text[SHOWN_BYTES];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	off_t length = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
	if (start > length)
		start = 0; /* it was cut meanwhile */
	if (length - start > SHOWN_BYTES)
		start = length - SHOWN_BYTES;
	ssize_t size = length > 0 ? pread(fd, text, sizeof(text), start) : -1;

	if (fd >= 0)
		close(fd);
	if (size <= 0)
		return;
	console_clean(text, (size_t)size);
	const char *end = text + size;
	for (const char *line = last_lines(text, (size_t)size, lines); line < end;) {
		const char *stop = memchr(line, '\n', (size_t)(end - line));

		if (stop == NULL)
			stop = end;
		say("  %s: %.*s", name, (int)(stop - line), line);
		line = stop + 1;
	}
}
