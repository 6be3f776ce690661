#!/bin/sh
# Serves ssh on port 22 (arguments go to dropbear). Only keys are accepted, from /root/.ssh/authorized_keys.
set -eu
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

busybox --install -s /usr/local/bin

# Host keys in OpenSSH's place are taken; without them dropbear makes the one that the first client asks for.
for type in rsa ecdsa ed25519; do
    key=/etc/ssh/ssh_host_${type}_key
    if [ -f "$key" ]; then
        dropbearconvert openssh dropbear "$key" "/etc/dropbear/dropbear_${type}_host_key"
    fi
done

exec /usr/sbin/dropbear -F -E -R -s "$@"
