#include "modules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "console.h"
#include "file.h"

#define MODULE_INIT_COMPRESSED_FILE 4 /* linux/module.h */
enum { LIST_MAX = 1 << 20 };

static char same(char c)
{
	return c == '-' ? '_' : c;
}

/* Does `word` begin with the module's name and a dot? Then the parameter behind it. */
static const char *parameter_of(const char *word, const char *name, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (same(word[i]) != same(name[i]))
			return NULL;
	return word[size] == '.' ? word + size + 1 : NULL;
}

bool modules_parameters(const char *path, const char *cmdline, char *out, size_t room)
{
	const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
	size_t size = strcspn(name, "."), used = 0;

	out[0] = '\0';
	for (const char *word = cmdline; *word != '\0'; word += strspn(word, " \n")) {
		size_t length = strcspn(word, " \n");
		const char *parameter = length > size ? parameter_of(word, name, size) : NULL;

		if (parameter != NULL) {
			size_t count = length - (size_t)(parameter - word);

			if (used + count + 2 > room)
				return false;
			if (used > 0)
				out[used++] = ' ';
			memcpy(out + used, parameter, count);
			used += count;
			out[used] = '\0';
		}
		word += length;
	}
	return true;
}

static bool load(const char *directory, const char *name, const char *cmdline)
{
	char path[PATH_MAX], parameters[1024];
	size_t size = strlen(name);
	bool packed = size < 3 || strcmp(name + size - 3, ".ko") != 0;
	int fd = path_format(path, "%s/%s", directory, name) ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (!modules_parameters(name, cmdline, parameters, sizeof(parameters)))
		say("module %s: too many parameters on the kernel command line", name);
	if (fd >= 0 && (syscall(SYS_finit_module, fd, parameters, packed ? MODULE_INIT_COMPRESSED_FILE : 0) == 0 ||
		errno == EEXIST)) {
		close(fd);
		say_debug("module %s loaded", name);
		return true;
	}
	/* ENODEV: the driver found nothing that it is made for. */
	if (errno != ENODEV)
		say("cannot load module %s: %s", name, strerror(errno));
	else
		say_debug("module %s: no such device", name);
	if (fd >= 0)
		close(fd);
	return false;
}

int modules_load(const char *cmdline)
{
	char directory[PATH_MAX], path[PATH_MAX], *rest = NULL;
	struct utsname system;
	int loaded = 0;

	uname(&system);
	path_format(directory, "/lib/modules/%s", system.release);
	path_format(path, "%s/modules.moby", directory);
	char *list = file_read(path, LIST_MAX, NULL);
	if (list == NULL)
		return -1;
	for (char *line = strtok_r(list, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
		loaded += line[0] != '#' && load(directory, line, cmdline);
	free(list);
	return loaded;
}
