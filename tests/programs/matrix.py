"""python3 of the matrix: modules with libraries of their own, and a page over TLS."""
import ctypes, decimal, hashlib, json, os, socket, sqlite3, ssl, threading, urllib.request, zlib

print("json", json.loads('{"a": [1, 2]}')["a"][1])
print("sqlite", sqlite3.connect(":memory:").execute("select 6 * 7").fetchone()[0])
print("strlen", ctypes.CDLL(None).strlen(b"seven"))
print("zlib", len(zlib.decompress(zlib.compress(b"x" * 1000))))
print("sha256", hashlib.sha256(b"abc").hexdigest()[:8], decimal.Decimal(1) / 8)
print("idna", "bücher".encode("idna").decode(), "é".encode("iso8859-15"))
thread = threading.Thread(target=lambda: print("thread"))
thread.start()
thread.join()
context = ssl.create_default_context(cafile="/tmp/ca.crt")
print(urllib.request.urlopen(os.environ["PAGE"], context=context).read().decode(), end="")
try:
    urllib.request.urlopen(os.environ["PAGE"], context=ssl.create_default_context(cafile="/tmp/other.crt"))
except OSError as error:
    print("untrusted", "CERTIFICATE_VERIFY_FAILED" in str(error))
