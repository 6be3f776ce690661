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
enum { LIST_MAX = 1 << 20, DEPENDENCIES_MAX = 16 << 20 };

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

/* The file `name` of this kernel's modules, for the caller to free; NULL when there is none. */
static char *read_list(const char *name, size_t limit, char directory[PATH_MAX])
{
	char path[PATH_MAX];
	struct utsname system;

	uname(&system);
	path_format(directory, "/lib/modules/%s", system.release);
	return path_format(path, "%s/%s", directory, name) ? file_read(path, limit, NULL) : NULL;
}

const char *modules_line(const char *dep, const char *name)
{
	size_t size = strlen(name);

	for (const char *line = dep; *line != '\0'; line += strspn(line, "\n")) {
		const char *start = line, *colon = line + strcspn(line, ":\n");

		for (const char *at = line; at < colon; at++)
			if (*at == '/')
				start = at + 1;
		size_t same_size = 0;
		while (same_size < size && start + same_size < colon && same(start[same_size]) == same(name[same_size]))
			same_size++;
		if (*colon == ':' && same_size == size && start[size] == '.')
			return line;
		line = colon + strcspn(colon, "\n");
	}
	return NULL;
}

void modules_need(const char *name)
{
	char directory[PATH_MAX];
	char *list = read_list("modules.dep", DEPENDENCIES_MAX, directory);
	char *line = list != NULL ? (char *)modules_line(list, name) : NULL;

	if (line != NULL) {
		line[strcspn(line, "\n")] = '\0';
		line[strcspn(line, ":")] = ' ';
		for (char *space; (space = strrchr(line, ' ')) != NULL; *space = '\0')
			if (space[1] != '\0')
				load(directory, space + 1, "");
		load(directory, line, "");
	}
	free(list);
}

int modules_load(const char *cmdline)
{
	char directory[PATH_MAX], *rest = NULL;
	int loaded = 0;

	char *list = read_list("modules.moby", LIST_MAX, directory);
	if (list == NULL)
		return -1;
	for (char *line = strtok_r(list, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
		loaded += line[0] != '#' && load(directory, line, cmdline);
	free(list);
	return loaded;
}
