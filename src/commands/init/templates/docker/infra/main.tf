# No backend here: cdflow adds it from the account scheme. With providers, commit the lock file that
# `terraform providers lock` writes.
terraform {
  required_version = ">= 1.6"
}

# Stands in for a service, so that this deploys without a cloud. `image_id` names the image by its digest: what runs is
# what was released.
resource "terraform_data" "service" {
  input = {
    image    = var.release["image_id"]
    greeting = var.greeting
  }
}
