# For one machine. Nobody outside of it reaches this listener; use TLS for one that others reach.
# https://developer.hashicorp.com/vault/docs/configuration
ui = true

storage "file" {
  path = "/var/lib/vault/data"
}

listener "tcp" {
  address     = "127.0.0.1:8200"
  tls_disable = 1
}
