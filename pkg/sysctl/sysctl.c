/* Writes the settings of CONFIG_DIR into the sysctl tree.
 *
 * usage: sysctl [-configDir DIR] [-sysctlDir DIR]
 *
 * Every regular file of the directory is read, in name order. A line is "key = value"; '#' and ';' begin a comment
 * line. A key is separated by '.' or by '/': the first separator found says which, and the other one is then a plain
 * character, so that "net.ipv4.conf.eth0/1.rp_filter" and "net/ipv4/conf/eth0.1/rp_filter" name the same file. A '-'
 * before a key asks for silence when it cannot be written. No setting is fatal: a machine with one unknown setting must
 * still boot.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096 };

static void warn(const char *what, const char *name, int error)
{
	fprintf(stderr, "sysctl: %s: %s: %s\n", name, what, strerror(error));
}

static char *trim(char *text)
{
	text += strspn(text, " \t\r\n");
	size_t length = strlen(text);
	while (length && strchr(" \t\r\n", text[length - 1])) text[--length] = 0;
	return text;
}

/* The key as a path below the sysctl directory, in place. */
static void to_path(char *key)
{
	if (key[strcspn(key, "./")] != '.') return;
	for (char *c = key; *c; c++) {
		if (*c == '.') *c = '/';
		else if (*c == '/') *c = '.';
	}
}

/* True when the path cannot leave the directory it is opened in. */
static int stays_inside(const char *path)
{
	while (*path) {
		size_t length = strcspn(path, "/");
		if (length == 2 && path[0] == '.' && path[1] == '.') return 0;
		path += length;
		path += strspn(path, "/");
	}
	return 1;
}

static int set(int tree, const char *path, const char *value)
{
	path += strspn(path, "/");
	if (!*path || !stays_inside(path)) return EINVAL;
	int fd = openat(tree, path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0) return errno;
	size_t length = strlen(value);
	ssize_t written = write(fd, value, length);
	int error = written < 0 ? errno : (size_t)written < length ? EIO : 0;
	close(fd);
	return error;
}

static void apply_line(int tree, const char *file, int number, char *line)
{
	char where[NAME_MAX + 32];
	line = trim(line);
	if (!*line || *line == '#' || *line == ';') return;
	snprintf(where, sizeof where, "%s:%d", file, number);
	char *equals = strchr(line, '=');
	if (!equals) {
		fprintf(stderr, "sysctl: %s: expected key = value\n", where);
		return;
	}
	*equals = 0;
	int quiet = *line == '-';
	char *key = trim(line + quiet);
	char *value = trim(equals + 1);
	char name[LINE_MAX_BYTES];
	snprintf(name, sizeof name, "%s: %s", where, key);
	to_path(key);
	int error = set(tree, key, value);
	if (error && !quiet) warn("not set", name, error);
}

static void apply_file(int tree, int directory, const char *name)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	struct stat status;
	if (fd < 0 || fstat(fd, &status)) {
		warn("cannot be read", name, errno);
		if (fd >= 0) close(fd);
		return;
	}
	FILE *file = S_ISREG(status.st_mode) ? fdopen(fd, "r") : NULL;
	if (!file) {
		close(fd);
		return;
	}
	char line[LINE_MAX_BYTES];
	for (int number = 1; fgets(line, sizeof line, file); number++) {
		if (strchr(line, '\n') || feof(file)) {
			apply_line(tree, name, number, line);
			continue;
		}
		/* Half of a value is another value, and the rest would be taken for a setting of its own. */
		fprintf(stderr, "sysctl: %s:%d: the line is too long\n", name, number);
		for (int c = 0; c != '\n' && c != EOF;) c = getc(file);
	}
	fclose(file);
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
	const char *config = "/etc/sysctl.d", *tree_path = "/proc/sys";
	for (int i = 1; i < argc; i++) {
		const char *flag = argv[i] + (argv[i][0] == '-' && argv[i][1] == '-');
		if (i + 1 < argc && !strcmp(flag, "-configDir")) config = argv[++i];
		else if (i + 1 < argc && !strcmp(flag, "-sysctlDir")) tree_path = argv[++i];
		else {
			fprintf(stderr, "usage: sysctl [-configDir DIR] [-sysctlDir DIR]\n");
			return 2;
		}
	}
	int directory = open(config, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int tree = open(tree_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent **entries = NULL;
	int count = directory < 0 ? -1 : scandir(config, &entries, is_visible, alphasort);
	if (count < 0) {
		warn("cannot be read", config, errno);
		return 1;
	}
	if (tree < 0) {
		warn("cannot be opened", tree_path, errno);
		return 1;
	}
	for (int i = 0; i < count; i++) {
		apply_file(tree, directory, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return 0;
}
