# cdflow sets every variable here that it knows: env, release, secrets, and the keys in config/ and platform-config/.

variable "env" {
  type        = string
  description = "The environment this deployment is for."
}

variable "release" {
  type        = map(string)
  description = "What is deployed: version, commit, component, team and the release data."
}

variable "greeting" {
  type        = string
  description = "From config/common.json."
}

variable "replicas" {
  type        = number
  description = "From config/common.json, unless config/<env>.json says otherwise."
}

variable "domain" {
  type        = string
  description = "From platform-config/<account>/<region>.json: the same for every component in that account."
}
