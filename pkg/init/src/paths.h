/* Where things are on the machine. The tests compile with another prefix and run in a scratch directory. */
#ifndef MOBY_PATHS_H
#define MOBY_PATHS_H

#ifndef PREFIX
#define PREFIX ""
#endif

#define CONTAINERS PREFIX "/containers"
#define STATE_DIRECTORY PREFIX "/run/moby"
#define STATUS_FILE STATE_DIRECTORY "/status.json"
#define CONTROL_SOCKET STATE_DIRECTORY "/svc.sock"
#define SERVICE_LOGS PREFIX "/var/log"
#define BOOT_LOGS PREFIX "/run/log/onboot"
#define SVC_PROGRAM PREFIX "/usr/bin/svc"
#define CRUN_PROGRAM PREFIX "/usr/bin/crun"
#define RUNC_PROGRAM PREFIX "/usr/bin/runc"
#define NETWORK_PROGRAM PREFIX "/usr/bin/moby-net"

#endif
