/* Loads kernel modules: by name, by what the kernel asks for, and for the devices that are there.
 *
 * usage: modprobe [-q] [-b] [-v] [--] NAME [PARAMETER=VALUE...]    the kernel runs /sbin/modprobe -q -- NAME
 *        modprobe -a [-q] [-b] [-v] [--] NAME...
 *        hotplug                                         for every device, then in the background for new ones
 *
 * NAME is a module or an alias (`fs-xfs`, `pci:v00001AF4...`). The indexes are those of depmod(8), below
 * /lib/modules/RELEASE: a line of modules.dep lists what a module needs and is loaded from its end; a line of
 * modules.alias maps a pattern to a module. A device's alias is in its `modalias` file below /sys/bus and, when it is
 * new, in the kernel's uevent.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>
#include <libgen.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { NAME_BYTES = 512, INDEX_BYTES = 16 << 20, EVENT_BYTES = 8192 };

static int directory = -1, verbose;
static char *dependencies, *aliases, *builtin;

static char *read_index(const char *name)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	struct stat status;
	char *text = NULL;
	if (fd >= 0 && !fstat(fd, &status) && status.st_size < INDEX_BYTES)
		text = calloc(1, (size_t)status.st_size + 1);
	if (text && read(fd, text, (size_t)status.st_size) != status.st_size) *text = 0;
	if (fd >= 0) close(fd);
	return text ? text : calloc(1, 1);
}

static int open_indexes(void)
{
	char path[NAME_BYTES];
	struct utsname system;
	uname(&system);
	snprintf(path, sizeof path, "/lib/modules/%s", system.release);
	directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0) {
		fprintf(stderr, "modprobe: %s: %s\n", path, strerror(errno));
		return -1;
	}
	dependencies = read_index("modules.dep");
	aliases = read_index("modules.alias");
	builtin = read_index("modules.builtin");
	return dependencies && aliases && builtin ? 0 : -1;
}

/* Modules and aliases are the same with `-` and `_`, but not inside of brackets. */
static void normalise(char *out, const char *name, size_t length)
{
	int brackets = 0;
	if (length >= NAME_BYTES) length = NAME_BYTES - 1;
	for (size_t i = 0; i < length; i++) {
		brackets += (name[i] == '[') - (name[i] == ']');
		out[i] = name[i] == '-' && !brackets ? '_' : name[i];
	}
	out[length] = 0;
}

/* The module's name from its file's path. */
static void name_of(char *out, const char *path, size_t length)
{
	size_t begin = length;
	while (begin && path[begin - 1] != '/') begin--;
	normalise(out, path + begin, length - begin);
	char *suffix = strstr(out, ".ko");
	if (suffix) *suffix = 0;
}

/* The line of an index of paths whose file is the module `name`; NULL without one. */
static const char *find_line(const char *index, const char *name)
{
	for (const char *line = index; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		char found[NAME_BYTES];
		name_of(found, line, strcspn(line, ":\n"));
		if (!strcmp(found, name)) return line;
	}
	return NULL;
}

/* The kernel checks a module's signature before it looks whether the module is there already: ask first. */
static int is_live(const char *path, size_t length)
{
	char name[NAME_BYTES], file[NAME_BYTES + 32], state[8] = "";
	name_of(name, path, length);
	snprintf(file, sizeof file, "/sys/module/%s/initstate", name);
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return 0;
	ssize_t count = read(fd, state, sizeof state - 1);
	close(fd);
	return count >= 4 && !strncmp(state, "live", 4);
}

static int insert(const char *path, size_t length, const char *parameters)
{
	char name[NAME_BYTES];
	if (is_live(path, length)) return 0;
	snprintf(name, sizeof name, "%.*s", (int)length, path);
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	int failed = fd < 0 || syscall(SYS_finit_module, fd, parameters, 0);
	int error = failed && errno != EEXIST ? errno : 0;
	if (fd >= 0) close(fd);
	if (verbose && !failed) printf("insmod %s\n", name);
	return error;
}

/* What the module needs, last first, then the module itself. */
static int load_line(const char *line, const char *parameters)
{
	size_t path = strcspn(line, ":\n"), end = strcspn(line, "\n");
	while (end > path + 1) {
		size_t begin = end;
		while (begin > path + 1 && line[begin - 1] != ' ') begin--;
		if (begin < end) insert(line + begin, end - begin, "");
		end = begin - 1;
	}
	return insert(line, path, parameters);
}

static int load_module(const char *name, const char *parameters)
{
	const char *line = find_line(dependencies, name);
	if (line) return load_line(line, parameters);
	return find_line(builtin, name) ? 0 : ENOENT;
}

static int matches(const char *pattern, const char *name)
{
	size_t plain = strcspn(pattern, "*?[");
	return !strncmp(pattern, name, plain) && !fnmatch(pattern, name, 0);
}

/* Every module with an alias for `name`: several drivers may want a device, each finds out by itself. */
static int load_aliases(const char *name, const char *parameters)
{
	int result = ENOENT;
	for (const char *line = aliases; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		char pattern[NAME_BYTES], module[NAME_BYTES], normal[NAME_BYTES];
		if (sscanf(line, "alias %511s %511s", pattern, module) != 2) continue;
		normalise(normal, pattern, strlen(pattern));
		if (!matches(normal, name)) continue;
		normalise(normal, module, strlen(module));
		int error = load_module(normal, parameters);
		if (result) result = error;
	}
	return result;
}

static int load(const char *name, const char *parameters)
{
	char normal[NAME_BYTES];
	normalise(normal, name, strlen(name));
	int error = load_module(normal, parameters);
	return error == ENOENT ? load_aliases(normal, parameters) : error;
}

static void load_for_devices(void)
{
	glob_t found;
	if (glob("/sys/bus/*/devices/*/modalias", GLOB_NOSORT, NULL, &found)) return;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		char alias[NAME_BYTES] = "";
		int fd = open(found.gl_pathv[i], O_RDONLY | O_CLOEXEC);
		ssize_t length = fd < 0 ? 0 : read(fd, alias, sizeof alias - 1);
		if (fd >= 0) close(fd);
		alias[length > 0 ? strcspn(alias, "\n") : 0] = 0;
		if (*alias) load(alias, "");
	}
	globfree(&found);
}

/* A uevent is "ACTION@PATH", then KEY=VALUE strings, each ended by NUL (kernel: lib/kobject_uevent.c). */
static void take_event(const char *event, size_t length)
{
	const char *alias = NULL;
	int added = 0;
	for (const char *text = event; text < event + length; text += strlen(text) + 1) {
		if (!strcmp(text, "ACTION=add")) added = 1;
		if (!strncmp(text, "MODALIAS=", 9)) alias = text + 9;
	}
	if (added && alias) load(alias, "");
}

static int hotplug(void)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK, .nl_groups = 1};
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT), room = 1 << 20;
	if (fd < 0 || bind(fd, (struct sockaddr *)&kernel, sizeof kernel)) {
		fprintf(stderr, "hotplug: %s\n", strerror(errno));
		return 1;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
	load_for_devices();
	if (daemon(0, 0)) return 1;
	for (;;) {
		char event[EVENT_BYTES];
		struct sockaddr_nl from = {0};
		socklen_t size = sizeof from;
		ssize_t length = recvfrom(fd, event, sizeof event - 1, 0, (struct sockaddr *)&from, &size);
		if (length < 0 && errno == ENOBUFS) load_for_devices();
		if (length <= 0 || from.nl_pid != 0) continue;
		event[length] = 0;
		take_event(event, (size_t)length);
	}
}

static int report(const char *name, int error, int quiet)
{
	if (error == ENOENT && !quiet) fprintf(stderr, "modprobe: no module %s\n", name);
	else if (error && error != ENOENT) fprintf(stderr, "modprobe: %s: %s\n", name, strerror(error));
	return error != 0;
}

int main(int argc, char **argv)
{
	int all = 0, quiet = 0, failed = 0, option;
	if (open_indexes()) return 1;
	if (strstr(basename(argv[0]), "hotplug")) return hotplug();
	while ((option = getopt(argc, argv, "aqbv")) != -1) {
		if (option == 'a') all = 1;
		else if (option == 'q') quiet = 1;
		else if (option == 'v') verbose = 1;
		else if (option != 'b') return 2;
	}
	if (optind == argc) {
		fprintf(stderr, "usage: modprobe [-aqbv] NAME [PARAMETER=VALUE...]\n");
		return 2;
	}
	if (all) {
		for (int i = optind; i < argc; i++) failed |= report(argv[i], load(argv[i], ""), quiet);
		return failed;
	}
	char parameters[4096] = "";
	for (int i = optind + 1; i < argc; i++) {
		size_t used = strlen(parameters);
		int size = snprintf(parameters + used, sizeof parameters - used, "%s%s", used ? " " : "", argv[i]);
		if (size < 0 || (size_t)size >= sizeof parameters - used) {
			fprintf(stderr, "modprobe: too many parameters\n");
			return 2;
		}
	}
	return report(argv[optind], load(argv[optind], parameters), quiet);
}
