#include "root.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "console.h"

#define RAMFS_MAGIC 0x858458f6
#define TMPFS_MAGIC 0x01021994
#define STRICT (MS_NODEV | MS_NOSUID | MS_NOEXEC | MS_RELATIME)
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

enum quiet { LOUD, QUIET }; /* QUIET: a kernel without it is nothing to report */
struct mount_row {
	const char *type, *target;
	unsigned long flags;
	const char *data;
	enum quiet quiet;
};

static const struct mount_row early[] = {
	{"proc", "/proc", STRICT, NULL, LOUD},
	{"tmpfs", "/run", STRICT, "size=10%,mode=755", LOUD},
	{"tmpfs", "/tmp", STRICT, "size=10%,mode=1777", LOUD},
	{"tmpfs", "/var", STRICT, "size=50%,mode=755", LOUD},
	{"devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC | MS_RELATIME, "size=10m,nr_inodes=248418,mode=755", LOUD},
	{"sysfs", "/sys", STRICT, NULL, LOUD},
};

static const struct mount_row late[] = {
	{"mqueue", "/dev/mqueue", STRICT, NULL, LOUD},
	{"tmpfs", "/dev/shm", STRICT, "mode=1777", LOUD},
	{"devpts", "/dev/pts", MS_NOEXEC | MS_NOSUID, "gid=5,mode=0620", LOUD},
	{"cgroup2", "/sys/fs/cgroup", MS_NODEV | MS_NOSUID | MS_NOEXEC, NULL, LOUD},
	{"securityfs", "/sys/kernel/security", STRICT, NULL, QUIET},
	{"debugfs", "/sys/kernel/debug", STRICT, NULL, QUIET},
	{"configfs", "/sys/kernel/config", STRICT, NULL, QUIET},
	{"fusectl", "/sys/fs/fuse/connections", STRICT, NULL, QUIET},
	{"selinuxfs", "/sys/fs/selinux", MS_NOSUID | MS_NOEXEC | MS_RELATIME, NULL, QUIET},
	{"pstore", "/sys/fs/pstore", STRICT, NULL, QUIET},
	{"bpf", "/sys/fs/bpf", STRICT, "mode=700", QUIET},
	{"efivarfs", "/sys/firmware/efi/efivars", STRICT, NULL, QUIET},
	{"binfmt_misc", "/proc/sys/fs/binfmt_misc", STRICT, NULL, QUIET},
};

static const struct {
	const char *path;
	mode_t mode;
} directories[] = {
	{"/var/cache", 0755}, {"/var/empty", 0555}, {"/var/lib", 0755}, {"/var/local", 0755}, {"/var/lock", 0755},
	{"/var/log", 0755}, {"/var/opt", 0755}, {"/var/spool", 0755}, {"/var/tmp", 01777}, {"/dev/mqueue", 01777},
	{"/dev/shm", 01777}, {"/dev/pts", 0755}, {"/run/moby", 0755},
};

static const struct {
	const char *target, *path;
} links[] = {
	{"/run", "/var/run"}, {"/proc/self/fd", "/dev/fd"}, {"/proc/self/fd/0", "/dev/stdin"},
	{"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"}, {"/proc/kcore", "/dev/kcore"},
};

static bool in_memory(void)
{
	struct statfs found;

	return statfs("/", &found) == 0 &&
		((unsigned long)found.f_type == RAMFS_MAGIC || (unsigned long)found.f_type == TMPFS_MAGIC);
}

void root_leave_rootfs(void)
{
	if (!in_memory())
		return;
	mkdir("/n", 0700);
	if (mount("/", "/n", NULL, MS_BIND, NULL) < 0 || chdir("/n") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
		chroot(".") < 0 || chdir("/") < 0)
		say("cannot leave rootfs, containers may fail at pivot_root: %s", strerror(errno));
	rmdir("/n");
}

/* Standard input, output and error, for an initramfs that has no /dev/console. */
static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return;
	for (int standard = 0; standard <= 2; standard++)
		dup2(fd, standard);
	if (fd > 2)
		close(fd);
}

static void mount_rows(const struct mount_row *rows, size_t count)
{
	for (const struct mount_row *row = rows; row < rows + count; row++) {
		mkdir(row->target, 0755);
		if (mount(row->type, row->target, row->type, row->flags, row->data) < 0 && errno != EBUSY &&
			row->quiet == LOUD)
			say("cannot mount %s on %s: %s", row->type, row->target, strerror(errno));
	}
}

void root_mount_all(void)
{
	mode_t mask = umask(0);

	mount_rows(early, COUNT(early));
	open_console();
	for (size_t i = 0; i < COUNT(directories); i++)
		mkdir(directories[i].path, directories[i].mode);
	for (size_t i = 0; i < COUNT(links); i++)
		(void)!symlink(links[i].target, links[i].path);
	mount_rows(late, COUNT(late));
	umask(mask);
}

void root_seal(void)
{
	/* The whole file system, not only this mount of it: a container that binds a part of it read-write cannot write. */
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0)
		say("/ stays writable: %s", strerror(errno));
	if (mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) < 0)
		say("cannot make mounts shared: %s", strerror(errno));
}
