#include "images.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "console.h"
#include "file.h"
#include "modules.h"
#include "paths.h"

#define SUFFIX ".squashfs"
enum { ATTEMPTS = 16 };

/* linux/loop.h; the kernel's headers are not there when compiling against musl. */
#define LOOP_CONFIGURE_REQUEST 0x4C0A
#define LOOP_CTL_GET_FREE_REQUEST 0x4C82
#define LOOP_READ_ONLY 1
#define LOOP_AUTOCLEAR 4
struct loop_info {
	uint64_t device, inode, rdevice, offset, size_limit;
	uint32_t number, encrypt_type, encrypt_key_size, flags;
	uint8_t file_name[64], crypt_name[64], encrypt_key[32];
	uint64_t init[2];
};
struct loop_config {
	uint32_t fd, block_size;
	struct loop_info info;
	uint64_t reserved[8];
};

bool image_place(const char *path, char place[PATH_MAX])
{
	size_t size = strlen(path), suffix = strlen(SUFFIX);

	if (size <= suffix || size >= PATH_MAX || strcmp(path + size - suffix, SUFFIX) != 0)
		return false;
	memcpy(place, path, size - suffix);
	place[size - suffix] = '\0';
	return true;
}

bool image_is_for(const char *place)
{
	char path[PATH_MAX];

	return path_format(path, "%s" SUFFIX, place) && access(path, F_OK) == 0;
}

/* A descriptor of a loop device that shows `file` until it is closed and unmounted; its path goes to `device`. */
static int attach(int file, char device[PATH_MAX])
{
	struct loop_config config = {.fd = (uint32_t)file, .info.flags = LOOP_READ_ONLY | LOOP_AUTOCLEAR};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd = -1;

	/* Somebody else may take the free one first. */
	for (int attempt = 0; control >= 0 && attempt < ATTEMPTS; attempt++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE_REQUEST);

		if (number < 0)
			break;
		path_format(device, "/dev/loop%d", number);
		fd = open(device, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || ioctl(fd, LOOP_CONFIGURE_REQUEST, &config) == 0)
			break;
		int error = errno;
		close(fd);
		fd = -1;
		errno = error;
		if (error != EBUSY)
			break;
	}
	int error = errno;
	if (control >= 0)
		close(control);
	errno = error;
	return fd;
}

static bool mount_image(const char *path, const char *place)
{
	char device[PATH_MAX];
	int file = open(path, O_RDONLY | O_CLOEXEC), fd = file >= 0 ? attach(file, device) : -1;
	bool done = fd >= 0 && mount(device, place, "squashfs", MS_RDONLY, NULL) == 0;
	int error = errno;

	if (fd >= 0)
		close(fd);
	if (file >= 0)
		close(file);
	errno = error;
	return done;
}

/* Neither is there on every machine, and each costs some milliseconds. */
static void load_modules(void)
{
	static bool loaded;

	if (loaded)
		return;
	loaded = true;
	modules_need("loop");
	modules_need("squashfs");
}

static void mount_below(const char *base)
{
	DIR *list = opendir(base);

	for (struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;) {
		char path[PATH_MAX], place[PATH_MAX];

		if (!image_place(entry->d_name, place) || !path_format(path, "%s/%s", base, entry->d_name) ||
			!image_place(path, place))
			continue;
		load_modules();
		if (mount_image(path, place))
			say_debug("%s mounted", path);
		else
			say("cannot mount %s: %s", path, strerror(errno));
	}
	if (list != NULL)
		closedir(list);
}

static void mount_section(const char *section)
{
	char base[PATH_MAX];
	DIR *list = path_format(base, CONTAINERS "/%s", section) ? opendir(base) : NULL;

	for (struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;)
		if (entry->d_name[0] != '.' && path_format(base, CONTAINERS "/%s/%s", section, entry->d_name))
			mount_below(base);
	if (list != NULL)
		closedir(list);
}

void images_mount(void)
{
	const char *const sections[] = {"volumes", "onboot", "services", "onshutdown", NULL};

	for (const char *const *section = sections; *section != NULL; section++)
		mount_section(*section);
}
