/* Network links, made and moved by the kernel (rtnetlink(7)). */
#ifndef MOBY_NETLINK_H
#define MOBY_NETLINK_H

#include <stdbool.h>
#include <stddef.h>

enum { LINK_NAME_MAX = 15, LINK_KIND_MAX = 31, LINK_MESSAGE = 512 };

struct link_message {
	_Alignas(4) unsigned char data[LINK_MESSAGE];
	size_t size;
};

/* Could the kernel take `name` for a link? */
bool link_name_fits(const char *name);

/* Make a link of `kind` called `name` in the network namespace that the descriptor `space` is open on. What it sends and
 * receives outside stays the caller's, and so does the other end of a pair, called `peer` ("" for none). Without a
 * namespace (-1) it is all the caller's. Names must fit, kinds be no longer than LINK_KIND_MAX. */
void link_make(struct link_message *message, const char *kind, const char *name, const char *peer, int space);

/* Move the link of that index to the network namespace `space`. */
void link_move(struct link_message *message, unsigned index, int space);

/* Give the link of that index another name. */
void link_rename(struct link_message *message, unsigned index, const char *name);

/* Send it and wait for the kernel's answer; -1 with errno. */
int link_send(const struct link_message *message);

#endif
