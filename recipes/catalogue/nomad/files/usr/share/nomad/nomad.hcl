# Server and client of a cluster of one, which nobody outside of this machine reaches.
# https://developer.hashicorp.com/nomad/docs/configuration
data_dir  = "/var/lib/nomad"
bind_addr = "127.0.0.1"

server {
  enabled          = true
  bootstrap_expect = 1
}

client {
  enabled = true
}
