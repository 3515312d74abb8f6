# cdflow gives a value to every variable that is declared here and that it knows.

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
