/* The power button: an input device that sends KEY_POWER. */
#ifndef MOBY_POWER_H
#define MOBY_POWER_H

#include <poll.h>
#include <stdbool.h>

enum { POWER_DEVICES = 8, POWER_POLLS = POWER_DEVICES + 1 };

struct power {
	int watch;                  /* inotify: devices come late, when their driver is loaded */
	int devices[POWER_DEVICES]; /* open /dev/input/event*, -1 = free */
};

void power_open(struct power *power);

/* Fill POWER_POLLS entries for poll(2). */
void power_polls(const struct power *power, struct pollfd *polls);

/* After poll(2), with the same entries: was the button pressed? Looks for new devices when told so. */
bool power_pressed(struct power *power, const struct pollfd *polls);

#endif
