#!/bin/sh
# Stands in for systemctl where systemd is not PID 1, for tidegate.service alone: runs the lines of its unit, as its
# user, outside its sandbox. It closes no descriptor for the service: those who call it must.
unit=/usr/lib/systemd/system/tidegate.service
pid_file=/run/tidegate.pid

verb=
for word; do
	case $word in
	-*) ;;
	*) verb=$word && break ;;
	esac
done

line() {
	sed -n "s/^$1=+\{0,1\}//p" "$unit"
}

runs() {
	[ -s "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null
}

start() {
	runs && return 0
	for folder in lib log; do
		install -d -o tidegate -g tidegate -m 0750 "/var/$folder/tidegate"
	done
	$(line ExecStartPre) 2>/run/start-gate.log || return 1
	cd /var/lib/tidegate || return 1
	setpriv --reuid=tidegate --regid=tidegate --init-groups $(line ExecStart) 2>>/run/tidegate.log &
	echo $! >"$pid_file"
	while runs; do
		tidegate status >/dev/null 2>&1 && return 0
		sleep 0.2
	done
	return 1
}

stop() {
	runs || return 0
	kill -TERM "$(cat "$pid_file")"
	while runs; do sleep 0.1; done
	rm -f "$pid_file"
}

case $verb in
start) start ;;
stop) stop ;;
restart) stop && start ;;
is-active) runs ;;
show) cat "$pid_file" ;;
daemon-reload) exit 0 ;;
# What is written down needs no manager: that is the real one's.
*) SYSTEMD_OFFLINE=1 exec /usr/bin/systemctl.real "$@" ;;
esac
