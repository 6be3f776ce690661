#include "netlink.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* linux/netlink.h, rtnetlink.h, if_link.h and veth.h, which are not there when compiling against musl. */
#define NETLINK_ROUTE 0
#define RTM_NEWLINK 16
#define NLMSG_ERROR 2
#define NLM_F_REQUEST 0x1
#define NLM_F_ACK 0x4
#define NLM_F_EXCL 0x200
#define NLM_F_CREATE 0x400
#define IFLA_IFNAME 3
#define IFLA_LINKINFO 18
#define IFLA_NET_NS_FD 28
#define IFLA_INFO_KIND 1
#define IFLA_INFO_DATA 2
#define VETH_INFO_PEER 1

struct sockaddr_netlink {
	uint16_t family, pad;
	uint32_t port, groups;
};

/* These are views of bytes. */
#define VIEW __attribute__((may_alias))

struct VIEW message_header {
	uint32_t size;
	uint16_t type, flags;
	uint32_t sequence, port;
};

struct VIEW link_header {
	uint8_t family, pad;
	uint16_t type;
	int32_t index;
	uint32_t flags, change;
};

struct VIEW attribute {
	uint16_t size, type;
};

/* Room for `size` bytes, zeroed, at the end: everything starts at a multiple of four. Sizes are bounded by the names'
 * and kinds', so there is always enough. */
static void *extend(struct link_message *message, size_t size)
{
	void *place = message->data + message->size;

	message->size += (size + 3) & ~(size_t)3;
	return place;
}

/* Begin an attribute; what is added until it is closed is inside. Gives its offset. */
static size_t open_attribute(struct link_message *message, uint16_t type)
{
	size_t offset = message->size;
	struct attribute *attribute = extend(message, sizeof(*attribute));

	attribute->type = type;
	return offset;
}

static void close_attribute(struct link_message *message, size_t offset)
{
	struct attribute *attribute = (struct attribute *)(message->data + offset);

	attribute->size = (uint16_t)(message->size - offset);
}

/* An attribute of bytes; its size does not count what is added to reach a multiple of four. */
static void put(struct link_message *message, uint16_t type, const void *value, size_t size)
{
	size_t offset = open_attribute(message, type);
	struct attribute *attribute = (struct attribute *)(message->data + offset);

	attribute->size = (uint16_t)(sizeof(*attribute) + size);
	memcpy(extend(message, size), value, size);
}

static struct link_header *begin(struct link_message *message, uint16_t flags)
{
	memset(message, 0, sizeof(*message));
	struct message_header *header = extend(message, sizeof(*header));

	header->type = RTM_NEWLINK;
	header->flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	return extend(message, sizeof(struct link_header));
}

static void finish(struct link_message *message, int space)
{
	uint32_t descriptor = (uint32_t)space;

	if (space >= 0)
		put(message, IFLA_NET_NS_FD, &descriptor, sizeof(descriptor));
	((struct message_header *)message->data)->size = (uint32_t)message->size;
}

bool link_name_fits(const char *name)
{
	size_t size = strlen(name);

	return size > 0 && size <= LINK_NAME_MAX && strpbrk(name, "/: \t\n\v\f\r") == NULL && strcmp(name, ".") != 0 &&
		strcmp(name, "..") != 0;
}

void link_make(struct link_message *message, const char *kind, const char *name, const char *peer, int space)
{
	begin(message, NLM_F_CREATE | NLM_F_EXCL);
	put(message, IFLA_IFNAME, name, strlen(name) + 1);
	size_t info = open_attribute(message, IFLA_LINKINFO);
	put(message, IFLA_INFO_KIND, kind, strlen(kind) + 1);
	if (peer[0] != '\0') {
		size_t data = open_attribute(message, IFLA_INFO_DATA);
		size_t other = open_attribute(message, VETH_INFO_PEER);

		extend(message, sizeof(struct link_header));
		put(message, IFLA_IFNAME, peer, strlen(peer) + 1);
		close_attribute(message, other);
		close_attribute(message, data);
	}
	close_attribute(message, info);
	finish(message, space);
}

void link_move(struct link_message *message, unsigned index, int space)
{
	begin(message, 0)->index = (int32_t)index;
	finish(message, space);
}

void link_rename(struct link_message *message, unsigned index, const char *name)
{
	begin(message, 0)->index = (int32_t)index;
	put(message, IFLA_IFNAME, name, strlen(name) + 1);
	finish(message, -1);
}

int link_send(const struct link_message *message)
{
	struct sockaddr_netlink kernel = {.family = AF_NETLINK};
	struct {
		struct message_header header;
		int32_t error;
		unsigned char rest[LINK_MESSAGE + 64];
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), error = EPROTO;

	if (fd < 0)
		return -1;
	ssize_t size = sendto(fd, message->data, message->size, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	if (size >= 0)
		size = recv(fd, &answer, sizeof(answer), 0);
	if (size < 0)
		error = errno;
	else if ((size_t)size >= sizeof(answer.header) + sizeof(answer.error) && answer.header.type == NLMSG_ERROR)
		error = -answer.error;
	close(fd);
	errno = error;
	return error == 0 ? 0 : -1;
}
