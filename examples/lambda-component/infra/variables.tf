# cdflow sets every variable here that it knows: env, release, secrets, and the keys in config/ and platform-config/.

variable "env" {
  type        = string
  description = "The environment this deployment is for."
}

variable "release" {
  type        = map(string)
  description = "What is deployed: version, team, component, and of the zip s3_bucket, s3_key and source_code_hash."
}

variable "greeting" {
  type        = string
  description = "From config/common.json."
}

variable "memory_mb" {
  type        = number
  description = "From config/common.json, unless config/<env>.json says otherwise."
}

variable "log_retention_days" {
  type        = number
  description = "From platform-config/<account>/<region>.json."
}
