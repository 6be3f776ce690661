#include "mount.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "console.h"
#include "file.h"
#include "paths.h"

enum { MOUNTINFO_MAX = 4 << 20 };
enum kind { SET, CLEAR, PROPAGATION, IGNORED };

static const struct {
	const char *name;
	enum kind kind;
	unsigned long flag;
} table[] = {
	{"async", CLEAR, MS_SYNCHRONOUS}, {"atime", CLEAR, MS_NOATIME}, {"bind", SET, MS_BIND}, {"defaults", IGNORED, 0},
	{"dev", CLEAR, MS_NODEV}, {"diratime", CLEAR, MS_NODIRATIME}, {"dirsync", SET, MS_DIRSYNC},
	{"exec", CLEAR, MS_NOEXEC}, {"mand", SET, MS_MANDLOCK}, {"noatime", SET, MS_NOATIME}, {"nodev", SET, MS_NODEV},
	{"nodiratime", SET, MS_NODIRATIME}, {"noexec", SET, MS_NOEXEC}, {"nomand", CLEAR, MS_MANDLOCK},
	{"norelatime", CLEAR, MS_RELATIME}, {"nostrictatime", CLEAR, MS_STRICTATIME}, {"nosuid", SET, MS_NOSUID},
	{"private", PROPAGATION, MS_PRIVATE}, {"rbind", SET, MS_BIND | MS_REC}, {"relatime", SET, MS_RELATIME},
	{"remount", SET, MS_REMOUNT}, {"ro", SET, MS_RDONLY}, {"rw", CLEAR, MS_RDONLY}, {"shared", PROPAGATION, MS_SHARED},
	{"slave", PROPAGATION, MS_SLAVE}, {"strictatime", SET, MS_STRICTATIME}, {"suid", CLEAR, MS_NOSUID},
	{"sync", SET, MS_SYNCHRONOUS}, {"unbindable", PROPAGATION, MS_UNBINDABLE},
};

static bool add_data(struct mount_options *options, const char *option)
{
	size_t used = strlen(options->data), size = strlen(option);

	if (used + size + 2 > sizeof(options->data))
		return false;
	if (used > 0)
		options->data[used++] = ',';
	memcpy(options->data + used, option, size + 1);
	return true;
}

bool mount_option(struct mount_options *options, const char *option)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(option, table[i].name) != 0)
			continue;
		if (table[i].kind == SET)
			options->flags |= table[i].flag;
		else if (table[i].kind == CLEAR)
			options->flags &= ~table[i].flag;
		else if (table[i].kind == PROPAGATION)
			options->propagation = table[i].flag;
		return true;
	}
	return add_data(options, option);
}

static bool read_options(const struct json *item, struct mount_options *options)
{
	for (const struct json *at = json_items(json_get(item, "options")); at != NULL; at = at->next) {
		const char *text = at->type == JSON_STRING ? at->string : "";

		if (!mount_option(options, text)) {
			errno = E2BIG;
			return false;
		}
		if ((strncmp(text, "upperdir=", 9) == 0 && make_directories(text + 9) < 0) ||
			(strncmp(text, "workdir=", 8) == 0 && make_directories(text + 8) < 0))
			return false;
	}
	return true;
}

static int mount_steps(const char *source, const char *destination, const char *type, const struct mount_options *options)
{
	unsigned long flags = options->flags;
	const char *data = options->data[0] != '\0' ? options->data : NULL;

	if ((flags != 0 || options->propagation == 0 || type != NULL) && mount(source, destination, type, flags, data) < 0)
		return -1;
	/* A bind takes no other flag at first: without this call `ro` would be without effect. */
	if ((flags & (MS_BIND | MS_REMOUNT)) == MS_BIND && (flags & ~(unsigned long)(MS_BIND | MS_REC)) != 0 &&
		mount(NULL, destination, NULL, (flags & ~(unsigned long)MS_REC) | MS_REMOUNT, NULL) < 0)
		return -1;
	return options->propagation != 0 ? mount(NULL, destination, NULL, options->propagation, NULL) : 0;
}

int mount_item(const struct json *item, const char *destination)
{
	struct mount_options options = {0};
	const char *type = json_string(item, "type"), *source = json_string(item, "source");

	if (!read_options(item, &options))
		return -1;
	return mount_steps(source[0] != '\0' ? source : NULL, destination, type[0] != '\0' ? type : NULL, &options);
}

size_t mounts_at(const char *mountinfo, const char *path)
{
	size_t count = 0, size = strlen(path);

	for (const char *line = mountinfo; *line != '\0'; line += strspn(line, "\n")) {
		const char *field = line;

		/* The fifth field is the mount point. */
		for (int skipped = 0; skipped < 4; skipped++) {
			field += strcspn(field, " \n");
			field += *field == ' ';
		}
		count += strncmp(field, path, size) == 0 && field[size] == ' ';
		line = field + strcspn(field, "\n");
	}
	return count;
}

void mounts_remove(const char *path, size_t kept)
{
	char *mountinfo = file_read("/proc/self/mountinfo", MOUNTINFO_MAX, NULL);

	for (size_t count = mountinfo != NULL ? mounts_at(mountinfo, path) : 0; count > kept; count--)
		if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			break;
	free(mountinfo);
}

static int mount_volume(const char *base)
{
	char lower[PATH_MAX], merged[PATH_MAX], tmp[PATH_MAX], part[PATH_MAX];
	struct mount_options options = {0};

	if (!path_format(lower, "%s/lower", base) || !path_format(merged, "%s/merged", base) ||
		!path_format(tmp, "%s/tmp", base))
		return -1;
	if (access(tmp, F_OK) < 0) {
		options.flags = MS_BIND | MS_RDONLY;
		return mount_steps(lower, merged, NULL, &options);
	}
	if (mount("tmpfs", tmp, "tmpfs", 0, NULL) < 0)
		return -1;
	for (const char *const *name = (const char *const[]){"upper", "work", NULL}; *name != NULL; name++)
		if (!path_format(part, "%s/%s", tmp, *name) || make_directories(part) < 0)
			return -1;
	if (!path_format(part, "lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower, tmp, tmp) ||
		!add_data(&options, part))
		return -1;
	return mount_steps("overlay", merged, "overlay", &options);
}

void volumes_mount(void)
{
	DIR *list = opendir(CONTAINERS "/volumes");

	for (struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;) {
		char base[PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		if (path_format(base, CONTAINERS "/volumes/%s", entry->d_name) && mount_volume(base) == 0)
			say_debug("volume %s mounted", entry->d_name);
		else
			say("cannot mount volume %s: %s", entry->d_name, strerror(errno));
	}
	if (list != NULL)
		closedir(list);
}
