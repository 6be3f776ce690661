/*
 * dm-verity by the device-mapper's ioctl interface (Linux: Documentation/admin-guide/device-mapper/verity.rst).
 * musl comes without the kernel's headers, so the few structures of linux/dm-ioctl.h that are needed stand here.
 */
#include "stage1.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { BLOCK = 4096, SECTOR = 512, READ_ONLY = 1, NAME_BYTES = 128, BUFFER_BYTES = 4096 };

struct dm_ioctl {
	uint32_t version[3];
	uint32_t data_size, data_start, target_count;
	int32_t open_count;
	uint32_t flags, event_nr, padding;
	uint64_t dev;
	char name[NAME_BYTES], uuid[129], data[7];
};

struct dm_target_spec {
	uint64_t sector_start, length;
	int32_t status;
	uint32_t next;
	char target_type[16];
};

#define DM_DEV_CREATE _IOWR(0xfd, 3, struct dm_ioctl)
#define DM_DEV_SUSPEND _IOWR(0xfd, 6, struct dm_ioctl)
#define DM_TABLE_LOAD _IOWR(0xfd, 9, struct dm_ioctl)

static union {
	struct dm_ioctl head;
	char bytes[BUFFER_BYTES];
} request;

static void begin(uint32_t flags)
{
	memset(&request, 0, sizeof request);
	request.head.version[0] = 4;
	request.head.data_size = sizeof request;
	request.head.data_start = sizeof request.head;
	request.head.flags = flags;
	strcpy(request.head.name, "root");
}

static void ask(int control, unsigned long what, const char *name)
{
	if (ioctl(control, (int)what, &request) < 0)
		fail("dm-verity cannot be set up", name);
}

/* The hash tree with its superblock follows the data. */
static void load_table(int control, const char *device, const char *root, const char *salt, unsigned long long blocks)
{
	struct dm_target_spec *target;
	char *parameters;
	begin(READ_ONLY);
	request.head.target_count = 1;
	target = (struct dm_target_spec *)(request.bytes + sizeof request.head);
	target->length = blocks * (BLOCK / SECTOR);
	strcpy(target->target_type, "verity");
	parameters = (char *)(target + 1);
	target->next = BUFFER_BYTES - (uint32_t)sizeof request.head;
	snprintf(parameters, (size_t)(request.bytes + BUFFER_BYTES - parameters),
		 "1 %s %s %d %d %llu %llu sha256 %s %s 1 panic_on_corruption", device, device, BLOCK, BLOCK, blocks, blocks + 1,
		 root, salt);
	ask(control, DM_TABLE_LOAD, device);
}

static void make_node(char *out, size_t size, uint64_t device)
{
	/* huge_encode_dev of the kernel: minor's low byte, major, minor's rest */
	unsigned major_number = (unsigned)(device >> 8) & 0xfff;
	unsigned minor_number = (unsigned)(device & 0xff) | (unsigned)((device >> 12) & 0xfff00);
	snprintf(out, size, "/dev/dm-%u", minor_number);
	if (access(out, F_OK) < 0)
		mknod(out, S_IFBLK | 0400, makedev(major_number, minor_number));
}

void open_verity(const char *device, const char *spec, char *out, size_t size)
{
	static char copy[512];
	char *salt, *count;
	int control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	snprintf(copy, sizeof copy, "%s", spec);
	if (control < 0)
		fail("the kernel has no device mapper", device);
	if ((salt = strchr(copy, ',')) == NULL || (count = strchr(salt + 1, ',')) == NULL)
		fail("moby.verity= must be ROOT,SALT,BLOCKS", spec);
	*salt++ = '\0';
	*count++ = '\0';
	begin(0);
	ask(control, DM_DEV_CREATE, device);
	make_node(out, size, request.head.dev);
	load_table(control, device, copy, salt, strtoull(count, NULL, 10));
	begin(0); /* without DM_SUSPEND_FLAG it resumes: the table is used from now on */
	ask(control, DM_DEV_SUSPEND, device);
	close(control);
}
