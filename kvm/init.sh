#!/bin/busybox sh
# /init, PID 1 of every guest: mounts, network; in the end it is the agent. Each command costs about 10 ms under TCG.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
/bin/busybox --install -s /bin

# A message goes through the kernel's log: a whole line with a time, which no other writer can cut in two.
say() {
	echo "<5>kdelta: $*" >/dev/kmsg
}

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir /dev/pts /dev/shm
mount -t devpts devpts /dev/pts # what ssh -t needs
mount -t tmpfs shm /dev/shm
mount -t tmpfs tmp /tmp
[ -d /sys/kernel/debug ] && mount -t debugfs debug /sys/kernel/debug
[ -d /sys/kernel/tracing ] && mount -t tracefs tracing /sys/kernel/tracing

hostname kdelta
ifconfig lo 127.0.0.1
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 || say "no eth0: the kernel needs CONFIG_VIRTIO_NET and CONFIG_VIRTIO_PCI"

nonce= console=
read -r words </proc/cmdline
for word in $words; do
	case $word in
	kdelta.ready=*) nonce=${word#*=} ;;
	kdelta.console=*) console=${word#*=} ;;
	esac
done

if [ "$console" = shell ]; then
	setsid cttyhack sh -l
	reboot -f # QEMU runs with -no-reboot: this ends it
fi

# The port's device comes when the host has told the driver of it.
port=/dev/vport*p1 tries=0
until set -- $port && [ -c "$1" ] || [ "$tries" = 100 ]; do
	tries=$((tries + 1))
	sleep 0.01
done
cd /root
exec agent "$1" "$nonce" # it says that the guest is ready
