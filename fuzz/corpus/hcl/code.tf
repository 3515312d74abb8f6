variable "env" {}
variable "t" {
  type = string
  ephemeral = true
  default = null
}
module "x" {
  source = "../x"
}
terraform {
  backend "s3" {}
  cloud {}
}
locals {
  a = [for k, v in var.x : "${k}-%{ if v }x%{ endif }" if k != 1]
  b = <<-EOT
    text
  EOT
}
