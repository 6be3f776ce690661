/* Process 1 of the small initrd. */
#include "stage1.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CMDLINE_BYTES = 4096, WORD_BYTES = 512, SHORT_MS = 200, LONG_MS = 30000 };

_Noreturn void fail(const char *what, const char *name)
{
	fprintf(stderr, "stage1: %s: %s (%s)\n", name, what, strerror(errno));
	fflush(stderr);
	exit(1);
}

int option(const char *cmdline, const char *key, char *out, size_t size)
{
	const size_t length = strlen(key);
	const char *word = cmdline;
	while (*word != '\0') {
		const char *end = word + strcspn(word, " \n");
		if ((size_t)(end - word) > length && strncmp(word, key, length) == 0 && word[length] == '=') {
			snprintf(out, size, "%.*s", (int)(end - word - (ptrdiff_t)length - 1), word + length + 1);
			return 1;
		}
		word = end + strspn(end, " \n");
	}
	return 0;
}

static void mount_kernel(void)
{
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mkdir("/root", 0755);
	mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	if (mount("dev", "/dev", "devtmpfs", MS_NOSUID, "mode=0755") < 0 && errno != EBUSY)
		fail("cannot mount it", "/dev");
}

static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR);
	if (fd < 0)
		return;
	for (int each = 0; each <= 2; each++)
		dup2(fd, each);
	if (fd > 2)
		close(fd);
}

/*
 * The next group of the list, up to an empty line. Modules that hardware or kernel refuse are no fault: there may be no
 * such device. 0 when there is no further group.
 */
static int load_group(FILE *list)
{
	char line[WORD_BYTES];
	int count = 0;
	while (list != NULL && fgets(line, sizeof line, list) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '\0')
			break;
		count++;
		int fd = open(line, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		syscall(SYS_finit_module, fd, "", 0);
		close(fd);
	}
	return count;
}

static void read_cmdline(char *out, size_t size)
{
	FILE *file = fopen("/proc/cmdline", "re");
	size_t got = file == NULL ? 0 : fread(out, 1, size - 1, file);
	out[got] = '\0';
	if (file != NULL)
		fclose(file);
}

static void wait_for(const char *device)
{
	const struct timespec step = {.tv_nsec = 20000000L};
	for (int waited = 0; waited < LONG_MS && access(device, F_OK) < 0; waited += 20)
		nanosleep(&step, NULL);
}

static void find_device(const char *cmdline, FILE *list, char *out, size_t size)
{
	char hash[WORD_BYTES];
	if (option(cmdline, "root", out, size) && out[0] == '/') {
		while (load_group(list))
			;
		wait_for(out);
		return;
	}
	if (!option(cmdline, "moby.root", hash, sizeof hash))
		fail("neither root= nor moby.root= is given", "command line");
	/* The usual disks of virtual machines first: every further module costs time. */
	while (load_group(list))
		if (find_root(hash, SHORT_MS, out, size))
			return;
	if (!find_root(hash, LONG_MS, out, size))
		fail("no disk or CD starts with it", hash);
}

static void mount_root(const char *cmdline, FILE *list)
{
	static const char *const kinds[] = {"squashfs", "erofs", "iso9660"};
	char device[WORD_BYTES], spec[WORD_BYTES], mapped[WORD_BYTES], kind[WORD_BYTES];
	const char *source = device;
	find_device(cmdline, list, device, sizeof device);
	if (option(cmdline, "moby.verity", spec, sizeof spec)) {
		open_verity(device, spec, mapped, sizeof mapped);
		source = mapped;
	}
	if (option(cmdline, "moby.rootfs", kind, sizeof kind)) {
		if (mount(source, "/root", kind, MS_RDONLY, NULL) < 0)
			fail("cannot mount the root", source);
		return;
	}
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (mount(source, "/root", kinds[i], MS_RDONLY, NULL) == 0)
			return;
	fail("cannot mount the root", source);
}

static void start(char **argv)
{
	static const char *const programs[] = {"/init", "/sbin/init", "/etc/init", "/bin/init", "/bin/sh"};
	/* The root's own init mounts these itself, and takes a /proc that is there for a container's. */
	umount2("/proc", MNT_DETACH);
	umount2("/sys", MNT_DETACH);
	umount2("/dev", MNT_DETACH);
	if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		fail("cannot go to the root", "/root");
	for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
		argv[0] = (char *)(size_t)programs[i];
		execv(programs[i], argv);
	}
	fail("the root has no init", "/init");
}

int main(int argc, char **argv)
{
	char cmdline[CMDLINE_BYTES];
	(void)argc;
	mount_kernel();
	open_console();
	read_cmdline(cmdline, sizeof cmdline);
	mount_root(cmdline, fopen("/modules", "re"));
	start(argv);
	return 1;
}
