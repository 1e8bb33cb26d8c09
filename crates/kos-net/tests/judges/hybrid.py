"""A client of BoringSSL that offers nothing but X25519MLKEM768. Arguments: port, CA, certificate, key."""
import sys
from io import BytesIO

from curl_cffi import Curl, CurlHttpVersion, CurlInfo, CurlOpt

port, ca, certificate, key = sys.argv[1:]
curl, body = Curl(), BytesIO()
curl.setopt(CurlOpt.URL, f"https://attic.local:{port}/".encode())
curl.setopt(CurlOpt.RESOLVE, [f"attic.local:{port}:127.0.0.1"])
curl.setopt(CurlOpt.HTTP_VERSION, CurlHttpVersion.V1_1)
curl.setopt(CurlOpt.SSL_EC_CURVES, b"X25519MLKEM768")
curl.setopt(CurlOpt.CAINFO, ca.encode())
curl.setopt(CurlOpt.SSLCERT, certificate.encode())
curl.setopt(CurlOpt.SSLKEY, key.encode())
curl.setopt(CurlOpt.WRITEDATA, body)
curl.perform()
print(curl.getinfo(CurlInfo.RESPONSE_CODE))
