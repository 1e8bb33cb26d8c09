"""An mDNS responder that is not ours: one authority, and others that are malformed. Runs until stdin closes."""
import socket
import sys

from zeroconf import IPVersion, ServiceInfo, Zeroconf

SERVICE = "_kos-enrol._tcp.local."
address, pin = sys.argv[1:]
good = {"v": "1", "name": "cellar", "pin": pin}
offers = {
    "cellar": (good, 8641),
    "no pin": ({"v": "1", "name": "cellar"}, 8641),
    "short pin": ({**good, "pin": pin[:-1]}, 8641),
    "upper pin": ({**good, "pin": pin.upper()}, 8641),
    "version": ({**good, "v": "2"}, 8641),
    "name": ({**good, "name": "cel lar\x1b[2J"}, 8641),
    "port": (good, 0),
}
zeroconf = Zeroconf(interfaces=[address], ip_version=IPVersion.V4Only)
for number, (name, (texts, port)) in enumerate(offers.items()):
    info = ServiceInfo(
        SERVICE,
        f"{name}.{SERVICE}",
        addresses=[socket.inet_aton(address)],
        port=port,
        properties=texts,
        server=f"judge-{number}.local.",
    )
    zeroconf.register_service(info, cooperating_responders=True)
print("ready", flush=True)
sys.stdin.read()
zeroconf.close()
