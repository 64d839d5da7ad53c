#!/bin/sh
# Stands for systemctl in tests: it knows one unit, whose control group is the folder that it is called in.
# In: the arguments that the helper gives. Out: the file cpu.max there, and in `asked` what was asked for.
# It does as systemctl(1) says, and is no proof that systemd does.
folder=${0%/*}
own=${folder##*/}
shift
echo "$*" >>"$folder/asked"
if [ "$1" = show ]; then
    if [ "$5" = "$own" ]; then echo "/$own"; else echo "/system.slice/$5"; fi
    exit 0
fi
if [ -e "$folder/refuse" ]; then
    echo "it refuses" >&2
    exit 1
fi
if [ -e "$folder/lazy" ]; then
    exit 0
fi
if [ -e "$folder/late" ]; then
    # The change is made, and the answer does not come.
    rm "$folder/late"
    late=yes
fi
case $5 in
CPUQuota=) value="max 100000" ;;
CPUQuota=*.00%)
    percent=${5#CPUQuota=}
    value="${percent%.00%}000 100000"
    ;;
*) exit 1 ;;
esac
echo "$value" >"$folder/cpu.max"
if [ -n "$late" ]; then
    exec sleep 60
fi
