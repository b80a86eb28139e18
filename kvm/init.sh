#!/bin/busybox sh
# /init, PID 1 of every guest: mounts, network, ssh, the ready line. Each command costs about 10 ms under TCG.

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

# dropbear goes to the background only after it listens, so the ready line is true when it is printed.
# -s: keys only; -j -k: no forwarding; -W: a window that lets a pushed file flow.
[ -f /etc/dropbear/host_key ] && dropbear -s -j -k -W 1048576 -r /etc/dropbear/host_key
say "ready $nonce"

if [ "$console" = shell ]; then
	setsid cttyhack sh -l
	reboot -f # QEMU runs with -no-reboot: this ends it
fi
while :; do # PID 1 must not end; while it waits, sh reaps orphans
	sleep 86400
done
