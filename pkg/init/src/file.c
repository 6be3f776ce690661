#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* openat2(2); the kernel's header is not there when compiling against musl. */
#define OPENAT2_NUMBER 437
#define RESOLVE_NO_MAGICLINKS 0x02
#define RESOLVE_IN_ROOT 0x10
struct open_how {
	uint64_t flags;
	uint64_t mode;
	uint64_t resolve;
};

bool path_format(char path[PATH_MAX], const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int size = vsnprintf(path, PATH_MAX, format, arguments);
	va_end(arguments);
	if (size >= 0 && size < PATH_MAX)
		return true;
	path[0] = '\0';
	errno = ENAMETOOLONG;
	return false;
}

static char *read_all(int fd, size_t limit, size_t *size)
{
	size_t used = 0, room = 4096;
	char *data = malloc(room + 1);

	while (data != NULL) {
		ssize_t got = read(fd, data + used, room - used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		if (got == 0) {
			data[used] = '\0';
			*size = used;
			return data;
		}
		used += (size_t)got;
		if (used > limit) {
			errno = EFBIG;
			break;
		}
		if (used == room) {
			char *more = realloc(data, room * 2 + 1);

			if (more == NULL)
				break;
			data = more;
			room *= 2;
		}
	}
	free(data);
	return NULL;
}

char *file_read(const char *path, size_t limit, size_t *size)
{
	size_t ignored;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return NULL;
	char *data = read_all(fd, limit, size != NULL ? size : &ignored);
	int error = errno;
	close(fd);
	errno = error;
	return data;
}

static int write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t put = write(fd, data, size);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -1;
		data += put;
		size -= (size_t)put;
	}
	return 0;
}

static int write_path(const char *path, const char *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return -1;
	int result = write_all(fd, data, size);
	int error = errno;
	close(fd);
	errno = error;
	return result;
}

int file_write(const char *path, const char *text)
{
	return write_path(path, text, strlen(text));
}

int file_replace(const char *path, const char *data, size_t size)
{
	char beside[PATH_MAX];

	if (!path_format(beside, "%s.new", path))
		return -1;
	if (write_path(beside, data, size) == 0 && rename(beside, path) == 0)
		return 0;
	int error = errno;
	unlink(beside);
	errno = error;
	return -1;
}

int make_directories(const char *path)
{
	char part[PATH_MAX];

	if (!path_format(part, "%s", path))
		return -1;
	for (char *slash = part + (part[0] == '/'); (slash = strchr(slash, '/')) != NULL; slash++) {
		*slash = '\0';
		if (part[0] != '\0' && mkdir(part, 0755) < 0 && errno != EEXIST)
			return -1;
		*slash = '/';
	}
	if (mkdir(part, 0755) == 0)
		return 0;
	struct stat found;
	if (errno != EEXIST || stat(part, &found) < 0)
		return -1;
	if (S_ISDIR(found.st_mode))
		return 0;
	errno = ENOTDIR;
	return -1;
}

int make_parent(const char *path)
{
	char parent[PATH_MAX];

	if (!path_format(parent, "%s", path))
		return -1;
	char *slash = strrchr(parent, '/');
	if (slash == NULL || slash == parent)
		return 0;
	*slash = '\0';
	return make_directories(parent);
}

static int open_inside(int root, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};

	return (int)syscall(OPENAT2_NUMBER, root, path[0] == '\0' ? "." : path, &how, sizeof(how));
}

/* One step down from the prefix of `path` that ends at `start`: the component up to `end`, made when missing. */
static int step_inside(int root, char *path, char *start, char *end)
{
	char rest = *end;

	*end = '\0';
	int fd = open_inside(root, path);
	if (fd < 0 && errno == ENOENT) {
		char name[NAME_MAX + 1], first = *start;

		memcpy(name, start, (size_t)(end - start) + 1);
		*start = '\0';
		int parent = open_inside(root, path);
		*start = first;
		if (parent >= 0) {
			int made = mkdirat(parent, name, 0755);

			close(parent);
			fd = made < 0 ? -1 : open_inside(root, path);
		}
	}
	*end = rest;
	return fd;
}

int directory_inside(const char *root, const char *path)
{
	char copy[PATH_MAX];
	int base = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (base < 0)
		return -1;
	while (*path == '/')
		path++;
	int fd = path_format(copy, "%s", path) ? open_inside(base, "") : -1;
	for (char *start = copy; fd >= 0 && *start != '\0';) {
		char *end = start + strcspn(start, "/");

		close(fd);
		if (end - start > NAME_MAX) {
			errno = ENAMETOOLONG;
			fd = -1;
			break;
		}
		fd = step_inside(base, copy, start, end);
		start = end + strspn(end, "/");
	}
	int error = errno;
	close(base);
	errno = error;
	return fd;
}
