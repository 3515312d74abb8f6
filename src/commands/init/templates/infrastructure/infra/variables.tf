# cdflow sets the variables that it knows and that are declared here.

variable "env" {
  type        = string
  description = "The environment of this deployment."
}

variable "release" {
  type        = map(string)
  description = "The deployed release: version, commit, component, team and the release data."
}

variable "greeting" {
  type        = string
  description = "From config/common.json."
}

variable "replicas" {
  type        = number
  description = "From config/common.json, unless config/<env>.json overrides it."
}
