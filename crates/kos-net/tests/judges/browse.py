"""An mDNS browser that is not ours. Prints what it resolves and ends when it has seen one."""
import sys
import time

from zeroconf import IPVersion, ServiceBrowser, ServiceListener, Zeroconf

SERVICE = "_kos-enrol._tcp.local."


class Listener(ServiceListener):
    found = None

    def add_service(self, zeroconf, kind, name):
        Listener.found = zeroconf.get_service_info(kind, name, 3000)

    update_service = remove_service = lambda *_: None


zeroconf = Zeroconf(interfaces=[sys.argv[1]], ip_version=IPVersion.V4Only)
browser = ServiceBrowser(zeroconf, SERVICE, Listener())
deadline = time.monotonic() + 20
while Listener.found is None and time.monotonic() < deadline:
    time.sleep(0.05)
info = Listener.found
texts = {key.decode(): value.decode() for key, value in info.properties.items()}
print(info.name, info.server, info.port, ",".join(info.parsed_addresses()), texts)
zeroconf.close()
