# cdflow gives a value to every variable that is declared here and that it knows.

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
