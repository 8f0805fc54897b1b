# An agent that nobody outside of this machine reaches.
# https://developer.hashicorp.com/consul/docs/agent/config
data_dir = "/var/lib/consul"
bind_addr = "127.0.0.1"
client_addr = "127.0.0.1"
