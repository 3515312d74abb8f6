# cdflow sets the variables that it knows and that are declared here.

variable "env" {
  type        = string
  description = "The environment of this deployment."
}

variable "release" {
  type        = map(string)
  description = "The deployed release: version, team, component, and the zip's s3_bucket, s3_key and source_code_hash."
}

variable "greeting" {
  type        = string
  description = "From config/common.json."
}

variable "memory_mb" {
  type        = number
  description = "From config/common.json, unless config/<env>.json overrides it."
}
