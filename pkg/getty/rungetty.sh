#!/bin/sh
# One login prompt for each console of the kernel command line, started again whenever it ends.
set -eu
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

busybox --install -s /usr/local/bin

# The password of root comes from the machine, never from the image. busybox refuses empty date fields: fill them in.
if [ -f /hostroot/etc/getty.shadow ]; then
    sed -n 's/^\([^:]*:[^:]*\):.*/\1:19000:0:99999:7:::/p' /hostroot/etc/getty.shadow >/etc/shadow
elif [ "${INSECURE:-}" != true ]; then
    echo "getty: nobody can log in: the machine has no /etc/getty.shadow and INSECURE is not true"
fi

consoles() { # prints "TTY:SPEED" lines
    read -r words </proc/cmdline
    for word in $words; do
        case "$word" in
        console=*,[0-9]*)
            speed=${word#*,}
            tty=${word%%,*}
            echo "${tty#console=}:${speed%%[!0-9]*}"
            ;;
        console=*) echo "${word#console=}:115200" ;;
        esac
    done | sort -u
}

prompt() { # TTY SPEED
    case "$1" in
    tty[0-9]*) set -- "$1" 38400 linux ;;
    *) set -- -L "$1" "$2" vt100 ;;
    esac
    [ "${INSECURE:-}" != true ] || set -- -n -l /usr/libexec/root-login "$@"
    while :; do
        getty "$@" || sleep 1
    done
}

found=false
for console in $(consoles); do
    tty=${console%:*}
    [ -c "/dev/$tty" ] || continue
    prompt "$tty" "${console#*:}" &
    found=true
done
$found || echo "getty: the kernel command line names no console that this machine has"
wait
