#include "power.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "console.h"
#include "file.h"

#define DIRECTORY "/dev/input"

/* linux/input.h, linux/input-event-codes.h */
struct input_event {
	long seconds, microseconds;
	uint16_t type, code;
	int32_t value;
};
enum { EV_KEY = 1, KEY_POWER = 116, KEY_BYTES = 96 };
#define EVIOCGBIT_KEY _IOC(_IOC_READ, 'E', 0x20 + EV_KEY, KEY_BYTES)

static bool has_power_key(int fd)
{
	unsigned char keys[KEY_BYTES] = {0};

	return ioctl(fd, EVIOCGBIT_KEY, keys) >= 0 && (keys[KEY_POWER / 8] >> KEY_POWER % 8 & 1) != 0;
}

static void keep_if_button(struct power *power, const char *name)
{
	char path[PATH_MAX];

	path_format(path, DIRECTORY "/%s", name);
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	for (int i = 0; fd >= 0 && i < POWER_DEVICES && has_power_key(fd); i++) {
		if (power->devices[i] < 0) {
			power->devices[i] = fd;
			say_debug("power button at %s", path);
			return;
		}
	}
	if (fd >= 0)
		close(fd);
}

/* From the start each time: a device that is there already opens a second descriptor only until the old is closed. */
static void scan(struct power *power)
{
	for (int i = 0; i < POWER_DEVICES; i++) {
		if (power->devices[i] >= 0)
			close(power->devices[i]);
		power->devices[i] = -1;
	}
	inotify_add_watch(power->watch, DIRECTORY, IN_CREATE | IN_ATTRIB);
	DIR *list = opendir(DIRECTORY);
	for (struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;)
		if (strncmp(entry->d_name, "event", 5) == 0)
			keep_if_button(power, entry->d_name);
	if (list != NULL)
		closedir(list);
}

void power_open(struct power *power)
{
	power->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	memset(power->devices, -1, sizeof(power->devices));
	inotify_add_watch(power->watch, "/dev", IN_CREATE);
	scan(power);
}

void power_polls(const struct power *power, struct pollfd *polls)
{
	for (int i = 0; i < POWER_POLLS; i++)
		polls[i] = (struct pollfd){.fd = i == 0 ? power->watch : power->devices[i - 1], .events = POLLIN};
}

bool power_pressed(struct power *power, const struct pollfd *polls)
{
	struct input_event event;
	char drain[4096];
	bool pressed = false, changed = false;

	for (int i = 1; i < POWER_POLLS; i++) {
		if (polls[i].revents == 0)
			continue;
		ssize_t size;
		while ((size = read(polls[i].fd, &event, sizeof(event))) == (ssize_t)sizeof(event))
			pressed = pressed || (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1);
		changed = changed || (polls[i].revents & (POLLERR | POLLHUP)) != 0; /* unplugged */
	}
	if (polls[0].revents != 0) {
		while (read(power->watch, drain, sizeof(drain)) > 0)
			changed = true;
	}
	if (changed)
		scan(power);
	return pressed;
}
