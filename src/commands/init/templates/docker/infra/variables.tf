# cdflow sets the variables that it knows and that are declared here.

variable "release" {
  type        = map(string)
  description = "The deployed release: version, team, component, and the image by digest (image_id) and by tag (image_tag)."
}

variable "greeting" {
  type        = string
  description = "From config/common.json, unless config/<env>.json overrides it."
}
