# cdflow gives a value to every variable that is declared here and that it knows.

variable "release" {
  type        = map(string)
  description = "What is deployed: version, team, component, and the image: image_id by its digest, image_tag by its tag."
}

variable "greeting" {
  type        = string
  description = "From config/common.json, unless config/<env>.json says otherwise."
}
