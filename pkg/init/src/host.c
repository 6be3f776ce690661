#include "host.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "console.h"
#include "file.h"

enum { OPEN_FILES = 1048576 };

/* The kernel itself gives lo its addresses and routes once it is up. */
static void raise_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0) {
		say("no loopback interface: %s", strerror(errno));
	} else {
		request.ifr_flags |= IFF_UP;
		if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
			say("cannot raise the loopback interface: %s", strerror(errno));
	}
	if (fd >= 0)
		close(fd);
}

/* `moby-` and the address of eth0 without colons; false without eth0. */
static bool name_from_hardware(char name[HOST_NAME_MAX + 1])
{
	char *text = file_read("/sys/class/net/eth0/address", 64, NULL);
	size_t used = 5;

	if (text == NULL)
		return false;
	memcpy(name, "moby-", used);
	for (const char *at = text; *at != '\0' && used < HOST_NAME_MAX; at++)
		if (isxdigit((unsigned char)*at))
			name[used++] = *at;
	name[used] = '\0';
	free(text);
	return true;
}

static void set_name(void)
{
	char name[HOST_NAME_MAX + 1] = "";
	char *text = file_read("/etc/hostname", 4096, NULL);
	size_t size = text != NULL ? strcspn(text, " \t\r\n") : 0;

	if (size > 0 && size <= HOST_NAME_MAX) {
		memcpy(name, text, size);
		name[size] = '\0';
	} else {
		gethostname(name, sizeof(name));
		if ((name[0] == '\0' || strcmp(name, "(none)") == 0) && !name_from_hardware(name))
			name[0] = '\0';
	}
	free(text);
	if (name[0] != '\0' && sethostname(name, strlen(name)) < 0)
		say("cannot set the host name %s: %s", name, strerror(errno));
}

static void raise_limits(void)
{
	struct rlimit files = {OPEN_FILES, OPEN_FILES}, processes = {RLIM_INFINITY, RLIM_INFINITY};

	if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_NPROC, &processes) < 0)
		say("cannot raise limits: %s", strerror(errno));
}

/* /etc/resolv.conf is a link into /run on a read-only root: its target must exist before anything binds it. */
static void make_resolv_conf(void)
{
	char target[PATH_MAX], path[PATH_MAX];
	ssize_t size = readlink("/etc/resolv.conf", target, sizeof(target) - 1);

	if (size < 0)
		return;
	target[size] = '\0';
	if (!path_format(path, "%s%s", target[0] == '/' ? "" : "/etc/", target) || make_parent(path) < 0)
		return;
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd >= 0)
		close(fd);
}

void host_set_up(void)
{
	raise_limits();
	raise_loopback();
	set_name();
	make_resolv_conf();
}

bool host_console(const char *cmdline, int number, char path[PATH_MAX])
{
	for (const char *word = cmdline; *word != '\0'; word += strcspn(word, " \n"), word += strspn(word, " \n")) {
		if (strncmp(word, "console=", 8) != 0 || number-- > 0)
			continue;
		return path_format(path, "/dev/%.*s", (int)strcspn(word + 8, ", \n"), word + 8);
	}
	return false;
}

void host_greet(const char *cmdline)
{
	char path[PATH_MAX] = "/dev/console";
	size_t size;
	char *text = file_read("/etc/issue", 65536, &size);
	bool named = host_console(cmdline, 0, path);

	for (int number = 1; text != NULL && path[0] != '\0'; number++) {
		int fd = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

		if (fd >= 0) {
			(void)!write(fd, text, size);
			close(fd);
		}
		if (!named || !host_console(cmdline, number, path))
			break;
	}
	free(text);
}
