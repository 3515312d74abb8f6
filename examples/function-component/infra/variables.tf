# cdflow sets every variable here that it knows: env, release, secrets, and the keys in config/ and platform-config/.

variable "env" {
  type        = string
  description = "The environment this deployment is for."
}

variable "release" {
  type        = map(string)
  description = "What is deployed: version, team, component, the image (image_id by its digest) and what it was made from."
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
  description = "From platform-config/<account>/<region>.json."
}
